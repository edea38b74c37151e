"""Options of a wrong type are refused with a sentence that names them, whichever field it is; so are arguments."""

import re
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pytest

from ufafuse.runtime.errors import BackendError, InputError
from ufafuse.runtime.files import FileOptions, fuse_files
from ufafuse.runtime.fuser import Fuser
from ufafuse.runtime.outputs import Outputs
from ufafuse.runtime.pfnc import format_of, format_of_fourcc, picture_from, raw_from
from ufafuse.runtime.pictures.write import WriteOptions, write_image
from ufafuse.runtime.session import SessionOptions, open_session
from ufafuse.runtime.stack import fuse_stack
from ufafuse.runtime.stacks.options import StackOptions
from ufafuse.runtime.stacks.relief import HeightOptions
from ufafuse.runtime.stream import IterableSource, Pipeline, PipelineOptions, PushSource, sink_from_text, source_from_text
from ufafuse.runtime.stream.reader import RetryPolicy
from ufafuse.runtime.stream.sinks import SinkOptions
from ufafuse.runtime.values import check_fields, type_in_text
from ufafuse.runtime.writing import write_text

VALUES = {
    "text": "3",
    "a fraction": 1.5,
    "True": True,
    "whole": 2,
    "nothing": None,
    "a list": [1],
    "bytes": b"affine",
    "an array": np.ones(3),
    "complex": 1j,
    "an object": object(),
    "a function": len,
}
# Of each kind of field, which of these fit.
TEXT, NUMBER, WHOLE = {"text"}, {"a fraction", "whole"}, {"whole"}
FIT = {
    StackOptions: {
        **dict.fromkeys(("order", "align", "method"), TEXT),
        "bayer": TEXT | {"nothing"},
        "match_gain": {"True", "nothing"},
        "restore": NUMBER,
        "smoothing": NUMBER | {"nothing"},
        "white": NUMBER | {"nothing"},
        "reference": WHOLE | {"nothing"},
        "on_aligned": {"a function", "nothing"},
    },
    HeightOptions: {"z_unit": TEXT, **dict.fromkeys(("z_step", "pixel_size"), NUMBER | {"nothing"})},
    SessionOptions: {
        "precision": TEXT | {"nothing"},
        "provider": TEXT,
        **dict.fromkeys(("threads", "streams"), WHOLE | {"nothing"}),
    },
    PipelineOptions: {
        **dict.fromkeys(("max_skew", "idle", "seconds"), NUMBER | {"nothing"}),
        **dict.fromkeys(("far_offset", "late_after", "stall_after"), NUMBER),
        **dict.fromkeys(("pair_by", "alternate_by", "when_late"), TEXT),
        **dict.fromkeys(("planes", "queue", "waiting"), WHOLE),
        "settle": TEXT | WHOLE | {"nothing"},
        "frames": WHOLE | {"nothing"},
        "retry": set(),
    },
    FileOptions: {"store": set(), "report": TEXT | {"nothing"}},
    WriteOptions: {"quality": WHOLE | {"nothing"}, "compression": TEXT | {"nothing"}},
    RetryPolicy: {"give_up": NUMBER | {"nothing"}, **dict.fromkeys(("first", "longest", "remind"), NUMBER)},
    SinkOptions: {
        "token": TEXT,
        "quality": WHOLE | {"nothing"},
        **dict.fromkeys(("rate", "segment", "white"), NUMBER | {"nothing"}),
    },
}
CASES = [
    (options, field.name, what)
    for options, fit in FIT.items()
    for field in fields(options)
    for what in VALUES
    if what not in fit.get(field.name, {"True"})
]


@pytest.mark.parametrize(("options", "name", "what"), CASES)
def test_a_value_of_another_type_is_refused_by_name(options, name, what):
    with pytest.raises(InputError, match=rf"`{name}=.*: give (a|True|some|`)"):
        options(**{name: VALUES[what]})


def test_values_of_numpy_are_taken():
    options = StackOptions(
        align="affine", reference=np.int64(1), smoothing=np.float32(2), crop=np.True_, white=np.uint16(4095), restore=1
    )
    assert options.reference == 1
    assert HeightOptions(z_step=np.float32(0.5), fill=np.bool_(True)).z_step == 0.5


@pytest.mark.parametrize("name", ["z_step", "pixel_size"])
@pytest.mark.parametrize("value", [1e300, -1e300, 1e39, 1e-300, 1e-46, 0, -1.0, float("inf"), float("nan")])
def test_sizes_that_float32_does_not_hold_are_refused(name, value):
    with pytest.raises(InputError, match=rf"`{name}=.*` is no size: give a number above 0, from 1e-30 to 1e\+30"):
        HeightOptions(**{name: value})


def test_what_numpy_gives_reaches_engines_as_pythons_own():
    options = SessionOptions(threads=np.int64(2), pin=np.True_)
    assert (type(options.threads), options.pin) == (int, True)


def test_a_files_name_may_be_a_text():
    outputs = Outputs("fused.png", depth="depth.tif")
    assert (outputs.fused, outputs.depth) == (Path("fused.png"), Path("depth.tif"))
    assert FileOptions(report="page.html").report == Path("page.html")
    with pytest.raises(InputError, match=r"`fused=b'fused.png'` is a bytes: give a path\."):
        Outputs(b"fused.png")


def test_evaluated_annotations_count_like_texts():
    @dataclass(frozen=True)
    class Options:
        count: int | None = None
        folder: Path = Path()

    for wrong in ({"count": "2"}, {"folder": 3}):
        with pytest.raises(InputError, match="give"):
            check_fields(Options(**wrong))


@pytest.mark.parametrize(("value", "told"), [(1, "an int"), ("x", "a str"), (np.ones(2), "a ndarray"), ([], "a list")])
def test_types_have_their_article(value, told):
    assert type_in_text(value) == told


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model", b"ufa-edge"),
        ("model", 3),
        ("precision", 32),
        ("precision", "FP32"),
        ("prefer", None),
        ("threads", "2"),
        ("threads", 1.5),
        ("threads", True),
        ("pin", "no"),
        ("streams", 2.5),
        ("provider", None),
        ("max_memory", "2GB"),
        ("max_memory", True),
        ("tile", 1.5),
        ("tile", True),
        ("tile", "64"),
        ("cache", "no"),
        ("self_test", "no"),
    ],
)
def test_a_fusers_argument_is_refused_by_name(name, value):
    with pytest.raises(InputError, match=f"`{name}="):
        Fuser(**{name: value})


def test_a_tile_of_numpys_is_a_tile(write_model, selecting_engine):
    with Fuser(write_model(), backend="onnxruntime", tile=np.int64(64), max_memory=np.float32(4000)) as fuser:
        assert "Fuser(" in repr(fuser)


@pytest.fixture
def fuser(write_model, selecting_engine):
    with Fuser(write_model(), backend="onnxruntime") as opened:
        yield opened


@pytest.mark.parametrize(
    "asked",
    [
        {"white": "255"},
        {"white": [255]},
        {"white": True},
        {"bayer": 1},
        {"bayer": ["rggb"]},
        {"levels": 3},
        {"want_map": "no"},
        {"on_tile": 3},
    ],
)
def test_what_is_asked_of_a_pair_is_refused_by_name(fuser, sample_pair, asked):
    with pytest.raises(InputError, match=f"`{next(iter(asked))}"):
        fuser.fuse_pair(*sample_pair[:2], **asked)


@pytest.mark.parametrize(
    "size", [None, 5, np.array(5), (5,), (1, 2, 3), (0, 5), (-1, 5), (1.5, 2), (True, 2), "ab", ("a", "b"), {}]
)
def test_what_is_no_size_is_refused(fuser, size):
    for asked in (fuser.prepare, fuser.prepared, fuser.surely_whole):
        with pytest.raises(InputError, match="`size="):
            asked(size)


@pytest.mark.parametrize("size", [(np.int64(40), np.uint16(50)), np.array([40, 50]), [40, 50]])
def test_a_size_of_numpys_is_a_size(size):
    with Fuser("ufa-nano") as opened:
        opened.prepare(size)
        assert opened.prepared(size)
        assert opened.surely_whole(size)


def test_levels_of_other_frames_are_refused(fuser, sample_pair):
    near, far = sample_pair[:2]
    deep = near.astype(np.uint16) * 16, far.astype(np.uint16) * 16
    of_bytes, of_deep = (fuser.fuse_pair(*pair).levels for pair in ((near, far), deep))
    with pytest.raises(InputError, match="`levels` reach 4095, which uint8 does not hold"):
        fuser.fuse_pair(near, far, levels=of_deep)
    with pytest.raises(InputError, match=r"the near frame reaches \d+, and `levels` 255"):
        fuser.fuse_pair(*deep, levels=of_bytes)
    np.testing.assert_array_equal(fuser.fuse_pair(*deep, levels=of_deep).fused, fuser.fuse(*deep))


def test_a_fuser_that_was_closed_opens_no_more_graphs(write_model, selecting_engine):
    fuser = Fuser(write_model(), backend="onnxruntime")
    fuser.close()
    for further in (fuser.tiled_model, fuser.stack_model):
        with pytest.raises(BackendError, match="the fuser was closed: open it again"):
            further()


def test_what_is_no_stack_is_refused(fuser, sample_pair):
    near, far = sample_pair[:2]
    for arguments, told in [
        ((None, [near, far]), "`fuser` is a NoneType"),
        ((Fuser, [near, far]), "`fuser` is a type"),
        ((fuser, None), "`frames` is a NoneType"),
        ((fuser, near, far), r"`options` is a ndarray: give `StackOptions` \(frames go together, as a list\)"),
        ((fuser, [near, far], {"align": "affine"}), "`options` is a dict"),
        ((fuser, near), "`frames` is one array .*, which is one frame"),
        ((fuser, [near, far], None, 3), "`on_tile=3` is an int: give something to call"),
    ]:
        with pytest.raises(InputError, match=told):
            fuse_stack(*arguments)


def test_frames_may_come_as_one_array_or_one_after_the_other(fuser, sample_pair):
    near, far = sample_pair[:2]
    expected = fuse_stack(fuser, [near, far]).fused
    for frames in (np.stack([near, far]), iter([near, far]), (near, far)):
        np.testing.assert_array_equal(fuse_stack(fuser, frames).fused, expected)


def test_what_a_pipeline_is_not_made_of_is_refused():
    source, copied = PushSource("near"), lambda near, far: near.copy()
    for arguments, name in [
        (("sim:", "sim:", copied), "near"),
        ((None, None, copied), "near"),
        ((source, "sim:", copied), "far"),
        ((source, None, None), "fuse"),
        ((source, None, copied, "x.mkv"), "sink"),
    ]:
        with pytest.raises(InputError, match=f"`{name}` is"):
            Pipeline(*arguments)
    with pytest.raises(InputError, match="`options` is a dict"):
        Pipeline(source, None, copied, options={"seconds": 1})


def test_what_is_no_text_for_a_source_or_a_sink_is_refused(tmp_path):
    for text in (0, None, b"sim:", tmp_path):
        with pytest.raises(InputError, match=r"`near=.*: give a text"):
            source_from_text(text, 0)
        with pytest.raises(InputError, match=r"`out=.*: give a text"):
            sink_from_text(text)
    for side in ("near", None, 2, -1):
        with pytest.raises(InputError, match=r"`side=.*: give NEAR or FAR"):
            source_from_text("sim:", side)


@pytest.mark.parametrize("call", [picture_from, raw_from])
def test_what_is_no_pixel_format_or_size_is_refused(call):
    data = bytes(12)
    for arguments, name in [((None, 3, 4), "pixel_format"), (("Mono8", 3.0, 4), "height"), (("Mono8", 3, "4"), "width")]:
        with pytest.raises(InputError, match=f"`{name}="):
            call(data, *arguments)
    with pytest.raises(InputError, match="`stride="):
        call(data, "Mono8", 3, 4, stride=4.0)
    for wrong in (None, "ab", [1, 2], np.ones(2), np.array([b"x", None])):
        with pytest.raises(InputError, match="`data` is"):
            call(wrong, "Mono8", 1, 2)
    for asked in (format_of, format_of_fourcc):
        with pytest.raises(InputError, match="give a text"):
            asked(None)


def test_what_opens_no_session_is_refused():
    with pytest.raises(InputError, match="`model=None` is a NoneType: give a path"):
        open_session(None)
    with pytest.raises(InputError, match="`options` is a dict"):
        open_session("x.onnx", options={"threads": 1})


def test_every_other_byte_of_a_buffer_is_a_buffer():
    assert raw_from(memoryview(b"1x2x")[::2], "Mono8", 1, 2).samples.tolist() == [[49, 50]]


@pytest.mark.parametrize("wrong", [{"name": 3}, {"size": 0}, {"size": -1}, {"size": 1.5}, {"size": "4"}])
def test_a_source_that_would_lose_every_frame_is_refused(wrong):
    with pytest.raises(InputError, match=f"`{next(iter(wrong))}="):
        PushSource(**wrong)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"frames": None}, "`frames=None` is a NoneType: give a list of frames, or a generator"),
        ({"frames": 3}, "`frames=3` is an int"),
        ({"name": None}, "`name=None`"),
        ({"live": "no"}, "`live='no'` is a str: give True or False"),
        ({"interval": "0.04"}, "`interval='0.04'` is a str: give a number"),
        ({"interval": 0}, "`interval=0` is out of range"),
        ({"interval": float("nan")}, "`interval=nan` is out of range"),
    ],
)
def test_frames_of_a_program_are_checked_as_they_are_handed_over(wrong, said):
    with pytest.raises(InputError, match=re.escape(said)):
        IterableSource(**{"frames": [], **wrong})


@pytest.mark.parametrize("offset", [float("nan"), float("inf"), -float("inf")])
def test_an_offset_by_which_nothing_pairs_is_refused(offset):
    with pytest.raises(InputError, match="`far_offset="):
        PipelineOptions(far_offset=offset)


@pytest.mark.parametrize("force", ["no", "", 0, 1, None])
def test_a_file_is_replaced_by_true_alone(tmp_path, force):
    """Of a text such as "no" Python says that it is true."""
    path = tmp_path / "there.png"
    picture = np.zeros((4, 5, 3), np.uint8)
    write_image(path, picture)
    before = path.read_bytes()
    for write in (lambda: write_image(path, picture + 1, force=force), lambda: write_text(path, "x", force=force)):
        with pytest.raises(InputError, match=r"`force=.*: give True or False"):
            write()
    assert path.read_bytes() == before


def test_what_fuses_no_files_is_refused(fuser, tmp_path):
    near, out = tmp_path / "near.png", Outputs(tmp_path / "out.png")
    for arguments, told in [
        ((near, out), "`images` is a PosixPath"),
        ((str(near), out), "`images` is a str"),
        ((None, out), "`images` is a NoneType"),
        (([], out), "`images` is empty"),
        (([b"near.png"], out), "`images=b'near.png'` is a bytes"),
        (([near], "out.png"), "`outputs='out.png'` is a str: give `Outputs`"),
        (([near], out, {"align": "affine"}), "`options={'align': 'affine'}` is a dict: give `StackOptions` or None"),
    ]:
        with pytest.raises(InputError, match=told):
            fuse_files(fuser, *arguments)
    with pytest.raises(InputError, match="`files=3` is an int"):
        fuse_files(fuser, [near], out, files=3)


def test_texts_are_no_text():
    @dataclass(frozen=True)
    class Names:
        names: tuple[str, ...] = ()

    options = Names(["a", "b"])
    check_fields(options)
    assert options.names == ("a", "b")
    for wrong in ("conv", ["a", 3], None, 5):
        with pytest.raises(InputError, match=r"`names=.*: give some texts"):
            check_fields(Names(wrong))
