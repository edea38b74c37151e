import cv2
import numpy as np
import pytest

from ufafuse.runtime.bfloat16 import narrowed, widened
from ufafuse.runtime.errors import BackendError, InputError
from ufafuse.runtime.outputs import Outputs, write_beside
from ufafuse.runtime.pictures.masked import without_hidden
from ufafuse.runtime.pictures.source import ArrayFrame, of_arrays
from ufafuse.runtime.session import is_carried
from ufafuse.runtime.stack import fuse_stack
from ufafuse.runtime.stacks import fusing
from ufafuse.runtime.stacks.fusing import fuse_sources
from ufafuse.runtime.stacks.height import SURE
from ufafuse.runtime.stacks.options import StackOptions
from ufafuse.runtime.stacks.passing import Passing
from ufafuse.runtime.stacks.registering import outwards
from ufafuse.runtime.stacks.relief import HeightOptions
from ufafuse.runtime.stacks.rule import by_one_rule


def psnr(a, b):
    return float(10 * np.log10(255**2 / max(np.square(a.astype(float) - b).mean(), 1e-12)))


class Counted(ArrayFrame):
    """A frame that counts how often it is read, and how many were in memory at once."""

    def __init__(self, array, name, counts):
        super().__init__(array, name)
        self._counts = counts

    def read(self):
        self._counts[self.name] = self._counts.get(self.name, 0) + 1
        return super().read().copy()


@pytest.mark.parametrize("method", ["network", "pyramid"])
@pytest.mark.parametrize(
    ("dtype", "white"), [(np.uint16, 1023), (np.uint16, 4095), (np.uint16, 65535), (np.float32, 1), (np.float32, 1e4)]
)
def test_what_moved_is_found_in_frames_of_any_levels(fuser, make_stack, method, dtype, white):
    frames = make_stack(3)[0]
    frames[2] = frames[2].copy()
    frames[2][20:110, 30:120] = frames[2][40:130, 80:170]
    asked = StackOptions(want_conflicts=True, method=method)
    bytes_of = fuse_sources(fuser, of_arrays(frames), asked)
    assert bytes_of.disagreement > 0.05
    scaled = [(frame * np.float32(white / 255)).astype(dtype) for frame in frames]
    result = fuse_sources(fuser, of_arrays(scaled), asked)
    assert result.disagreement == pytest.approx(bytes_of.disagreement, rel=0.1)
    assert result.conflicts.mean() == pytest.approx(bytes_of.conflicts.mean(), rel=0.1)
    assert any("show different things" in warning for warning in result.warnings)


@pytest.mark.parametrize("count", [3, 6, 12])
def test_every_frame_gives_what_it_has_sharp(fuser, make_stack, count):
    frames, truth = make_stack(count)
    result = fuse_sources(fuser, of_arrays(frames), StackOptions())
    best = max(psnr(frame, truth) for frame in frames)
    assert psnr(result.fused, truth) > best + 4


def test_the_order_of_the_frames_does_not_matter(fuser, make_stack):
    frames, _ = make_stack(5)
    one = fuse_sources(fuser, of_arrays(frames), StackOptions()).fused
    other = fuse_sources(fuser, of_arrays([frames[index] for index in (3, 0, 4, 1, 2)]), StackOptions()).fused
    assert np.abs(one.astype(int) - other).max() <= 1  # sums in another order round another way


@pytest.mark.parametrize("tile", [16, 40, 64])
def test_windows_are_the_whole(make_fuser, make_stack, tile):
    frames, _ = make_stack(4)
    whole = fuse_sources(make_fuser(), of_arrays(frames), StackOptions()).fused
    tiled = fuse_sources(make_fuser(tile), of_arrays(frames), StackOptions())
    assert len(tiled.grid) > 1
    assert np.abs(whole.astype(int) - tiled.fused).max() <= 1


def test_features_are_kept_where_there_is_room_and_computed_again_elsewhere(make_fuser, make_stack, monkeypatch):
    frames, _ = make_stack(5)
    pictures = []
    each = 4 * 2 * (1 / 16 + 1 / 64)  # bytes for a pixel of a padded frame
    for room, runs in ((1e9, 5), (2.5 * each * 152 * 208, 8), (0.0, 10)):
        monkeypatch.setattr(fusing, "room_for_features", lambda *_, room=room: room)
        fuser = make_fuser()
        pictures.append(fuse_sources(fuser, of_arrays(frames), StackOptions()).fused)
        assert len(fuser.stack.encode.seen) == runs
    np.testing.assert_array_equal(pictures[0], pictures[1])
    np.testing.assert_array_equal(pictures[0], pictures[2])


@pytest.mark.parametrize("tile", [None, 96])
@pytest.mark.parametrize("covered", [False, True])
def test_what_passes_between_graphs_may_be_bfloat16(make_fuser, make_stack, monkeypatch, tile, covered):
    frames, _ = make_stack(5)
    if covered:
        frames = [np.dstack([frame, np.full(frame.shape[:2], 255, np.uint8)]) for frame in frames]
        frames[1][:37, :, 3] = frames[3][:, 90:, 3] = 0
    expected = fuse_sources(make_fuser(tile), of_arrays(frames), StackOptions()).fused
    for room in (1e9, 0.0):
        monkeypatch.setattr(fusing, "room_for_features", lambda *_, room=room: room)
        fuser = in_bfloat16(make_fuser(tile))
        found = fuse_sources(fuser, of_arrays(frames), StackOptions()).fused
        assert {given["features_0"].dtype for given in fuser.stack.score.seen} == {np.dtype(np.uint16)}
        assert np.abs(found.astype(int) - expected).max() <= 3  # features of 8 bits change weights by a percent


def in_bfloat16(fuser):
    """Its graphs give and take what they hand on as bits of bfloat16 numbers."""
    for graph in (fuser.stack.encode, fuser.stack.common, fuser.stack.score):
        graph.carries = "uint16"
        graph.infer = carrying(graph, graph.infer)
    return fuser


def carrying(graph, infer):
    def run(inputs):
        assert {value.dtype.name for name, value in inputs.items() if is_carried(name)} <= {"uint16"}
        outputs = infer({name: widened(value) if is_carried(name) else value for name, value in inputs.items()})
        if graph.seen and isinstance(graph.seen[-1], dict):
            graph.seen[-1] = inputs
        return {name: narrowed(value) if is_carried(name) else value for name, value in outputs.items()}

    return run


def bounded(fuser, most, monkeypatch):
    """Bound what a fusion takes beside the process that the tests run in, and read the frames twice where it is bounded."""
    monkeypatch.setattr("ufafuse.runtime.stacks.room.resident_bytes", lambda: 0)
    monkeypatch.setattr(fuser, "memory_limit", most)
    if most is not None:
        monkeypatch.setattr("ufafuse.runtime.stacks.room.Held", Passing)


def test_under_a_bound_of_the_memory_features_are_kept_only_where_all_have_room(make_fuser, make_stack, monkeypatch):
    frames, _ = make_stack(5)
    monkeypatch.setattr("ufafuse.runtime.stacks.room.resident_bytes", lambda: 0)
    for limit, runs in ((200e6, 5), (3e6, 10)):
        fuser = make_fuser()
        fuser.memory_limit = limit
        fuse_sources(fuser, of_arrays(frames), StackOptions())
        assert len(fuser.stack.encode.seen) == runs


def test_frames_that_are_read_twice_give_the_same(fuser, make_stack):
    frames, _ = make_stack(6)
    counts = {}
    sources = [Counted(frame, f"f{index}.png", counts) for index, frame in enumerate(frames)]
    kept = fuse_sources(fuser, of_arrays(frames), StackOptions(want_map=True, want_confidence=True))
    import ufafuse.runtime.stacks.room as module

    original = module.Held
    module.Held = Passing
    try:
        passing = fuse_sources(fuser, sources, StackOptions(want_map=True, want_confidence=True))
    finally:
        module.Held = original
    np.testing.assert_array_equal(kept.fused, passing.fused)
    np.testing.assert_array_equal(kept.map, passing.map)
    assert max(counts.values()) <= 3  # two passes, and a look at a few


def test_what_a_frame_does_not_show_takes_no_part(fuser, make_stack):
    frames, truth = make_stack(4)
    masked = []
    for index, frame in enumerate(frames):
        alpha = np.full(frame.shape[:2], 255, np.uint8)
        if index == 1:
            alpha[:30] = 0
        seen = frame.copy()
        seen[alpha == 0] = 0
        masked.append(np.dstack([seen, alpha]))
    result = fuse_sources(fuser, of_arrays(masked), StackOptions())
    assert (result.fused[..., 3] == 255).all()
    top, below = psnr(result.fused[:30, :, :3], truth[:30]), psnr(result.fused[40:, :, :3], truth[40:])
    assert below > top > 18  # what frame 2 alone has sharp is missing above
    assert psnr(result.fused[:30, :, :3], truth[:30]) > psnr(masked[1][:30, :, :3], truth[:30]) + 8


@pytest.mark.parametrize(("dtype", "white"), [(np.uint8, 255), (np.uint16, 65535), (np.float32, 60000)])
def test_weights_as_large_as_they_get_are_numbers(fuser, make_stack, dtype, white):
    """The network's weights reach e^79.8: neither their sum over a picture nor their products with levels may overflow."""
    frames = [(frame.astype(float) * white / 255).astype(dtype) for frame in make_stack(12)[0]]
    expected = fuse_sources(fuser, of_arrays(frames), StackOptions()).fused
    infer = fuser.stack.score.infer
    fuser.stack.score.infer = lambda inputs: {"weights": infer(inputs)["weights"] * np.float32(np.exp(79.8))}
    got = fuse_sources(fuser, of_arrays(frames), StackOptions()).fused
    assert np.isfinite(got).all()
    np.testing.assert_allclose(got.astype(float), expected.astype(float), atol=white / 255)


def test_a_result_that_is_no_number_is_an_error(fuser, make_stack):
    frames, _ = make_stack(3)
    infer = fuser.stack.score.infer

    def broken(inputs):
        outputs = infer(inputs)
        outputs["weights"][0, 3, 3, 0] = np.nan
        return outputs

    fuser.stack.score.infer = broken
    with pytest.raises(BackendError, match="no numbers"):
        fuse_sources(fuser, of_arrays(frames), StackOptions())


def test_frames_that_differ_are_named(fuser, make_stack):
    frames, _ = make_stack(3)
    frames[2] = frames[2][:100]
    with pytest.raises(InputError, match=r"frame 3.*100 x"):
        fuse_sources(fuser, of_arrays(frames), StackOptions())


def test_a_jump_of_exposure_is_told(fuser, make_stack):
    frames, _ = make_stack(4)
    frames[2] = (frames[2] * 0.8).astype(np.uint8)
    result = fuse_sources(fuser, of_arrays(frames), StackOptions())
    assert any("exposure" in warning for warning in result.warnings)
    matched = fuse_sources(fuser, of_arrays(frames), StackOptions(match_gain=True))
    assert not any("exposure" in warning for warning in matched.warnings)
    assert len(matched.gains) == 3


@pytest.mark.parametrize("match_gain", [None, False])
def test_what_the_focus_makes_of_the_light_is_no_jump_of_exposure(fuser, match_gain):
    """Light spreads over what is dark, where it weighs more: out of focus the mean of a pattern is higher."""
    rng = np.random.default_rng(0)
    pattern, ground = (cv2.GaussianBlur(rng.normal(size=(160, 200)), (0, 0), 1.5) for _ in range(2))
    pattern = np.where(pattern > 0.05, 210.0, 60.0)
    ground = 130 + 60 * ground
    near = np.arange(200) < 110
    frames = []
    for plane in np.linspace(0, 1, 5):
        light = [cv2.GaussianBlur(each**2, (0, 0), 0.3 + 3 * away) for each, away in ((pattern, plane), (ground, 1 - plane))]
        seen = np.sqrt(np.where(near, *light))
        frames.append(np.repeat(np.uint8(np.clip(seen, 0, 255))[..., None], 3, 2))
    means = [frame.mean() for frame in frames]
    assert 1.05 * min(means) < max(means) < 1.12 * min(means)
    result = fuse_sources(fuser, of_arrays(frames), StackOptions(match_gain=match_gain))
    assert not any("exposure" in warning for warning in result.warnings)


def breathing(frames, step=0.006):
    """Each frame larger than the one before, as by a lens that is refocused."""
    height, width = frames[0].shape[:2]
    moved = []
    for index, frame in enumerate(frames):
        scale = 1 + step * index
        matrix = np.array([[scale, 0, width / 2 * (1 - scale)], [0, scale, height / 2 * (1 - scale)]])
        moved.append(cv2.warpAffine(frame, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101))
    return moved


@pytest.mark.parametrize("held", [True, False])
def test_a_stack_that_breathes_is_registered(fuser, make_stack, held, monkeypatch):
    import ufafuse.runtime.stacks.room as module

    frames, _ = make_stack(5, height=300, width=400, blur=3)
    if not held:
        monkeypatch.setattr(module, "Held", Passing)
    result = fuse_sources(fuser, of_arrays(breathing(frames)), StackOptions(align="affine"))
    assert result.reference in (0, 4)
    assert len(result.alignments) == 4
    assert max(alignment.moved for alignment in result.alignments) == pytest.approx(0.024 * 250, abs=1.5)
    alone = fuse_sources(fuser, of_arrays(breathing(frames)), StackOptions())
    assert any("pixels apart" in warning for warning in alone.warnings)


def test_a_frame_that_does_not_belong_is_left_out(fuser, make_stack, make_texture):
    frames, _ = make_stack(5, height=300, width=400, blur=3)
    foreign = np.rint(make_texture(300, 400, seed=77)).astype(np.uint8)
    stack = [*frames[:2], foreign, *frames[2:]]
    result = fuse_sources(fuser, of_arrays(stack), StackOptions(align="translation"))
    assert list(result.left_out) == [2]
    assert any("frame 3 was left out" in warning for warning in result.warnings)
    kept = fuse_sources(fuser, of_arrays(stack), StackOptions(align="translation", keep_unregistered=True))
    assert not kept.left_out


@pytest.mark.parametrize("place", [0, 2, 4])
def test_a_black_frame_is_left_out_wherever_it_stands(fuser, make_stack, place):
    frames, _ = make_stack(4, height=300, width=400, blur=3)
    frames.insert(place, np.zeros_like(frames[0]))
    result = fuse_sources(fuser, of_arrays(frames), StackOptions(align="translation"))
    assert list(result.left_out) == [place]


def test_names_in_a_shells_order_are_put_right(fuser, make_stack):
    frames, _ = make_stack(11)
    names = [f"f{number}.png" for number in range(1, 12)]
    by_letters = sorted(range(11), key=lambda index: names[index])
    sources = of_arrays([frames[index] for index in by_letters], [names[index] for index in by_letters])
    result = fuse_sources(fuser, sources, StackOptions())
    assert [by_letters[index] for index in result.order] == list(range(11))
    assert any("another order" in warning for warning in result.warnings)


def test_registered_frames_are_handed_out(fuser, make_stack):
    frames, _ = make_stack(3)
    seen = {}
    fuse_sources(fuser, of_arrays(frames), StackOptions(on_aligned=lambda index, frame, covered: seen.update({index: frame})))
    for index, frame in enumerate(frames):
        np.testing.assert_array_equal(seen[index], frame)


@pytest.mark.parametrize("most", [None, 1e9])
@pytest.mark.parametrize("align", ["off", "translation"])
@pytest.mark.parametrize("lost", [0, 2, 5])
def test_a_frame_that_is_left_out_keeps_its_place(fuser, make_stack, monkeypatch, lost, align, most):
    """What lies behind it is no nearer for that, and frames are named by what they are as given."""
    frames = make_stack(6, height=120, width=360, blur=3)[0]
    bounded(fuser, most, monkeypatch)
    wanted = {"want_height": True, "want_map": True, "align": align}
    whole = fuse_sources(fuser, of_arrays(frames), StackOptions(**wanted))
    frames[lost] = np.zeros_like(frames[lost])
    seen, placed = {}, {}
    result = fuse_sources(
        fuser,
        of_arrays(frames),
        StackOptions(**wanted, on_aligned=lambda number, frame, _: seen.update({number: frame})),
        on_placed=lambda place, number, *_: placed.update({number: place}),
    )
    taken = [number for number in range(6) if number != lost]
    assert result.taken == sorted(seen) == taken
    assert placed == {number: number for number in taken}
    assert all(np.abs(seen[number].astype(int) - frames[number]).mean() < 2 for number in taken)
    columns = np.abs(np.linspace(-0.5, 5.5, 360) - lost) > 1.5
    error = np.abs(result.height.position - whole.height.position)[:, columns]
    assert np.median(error) < 0.1
    assert np.median(np.abs(result.map - whole.map)[:, columns]) < 0.01


def test_the_pyramid_needs_no_network(make_stack):
    class Nothing:
        gathers = False
        threads = 1
        memory_limit = None

    frames, truth = make_stack(4, blur=3)
    result = fuse_sources(Nothing(), of_arrays(frames), StackOptions(method="pyramid"))
    assert psnr(result.fused, truth) > max(psnr(frame, truth) for frame in frames) + 5


def test_steps_are_told(fuser, make_stack):
    frames, _ = make_stack(4)
    told = []
    fuse_sources(fuser, of_arrays(frames), StackOptions(), lambda done, total: told.append((done, total)))
    assert told == [(done, 8) for done in range(1, 9)]


def test_what_only_a_rule_over_all_frames_gives(fuser):
    class Folds:
        gathers = False
        model = fuser.model

    assert by_one_rule(fuser, 3, StackOptions())
    assert not by_one_rule(fuser, 2, StackOptions())
    assert not by_one_rule(Folds(), 5, StackOptions())
    with pytest.raises(InputError, match="heights"):
        by_one_rule(Folds(), 5, StackOptions(want_height=True))
    with pytest.raises(InputError, match="heights"):
        by_one_rule(fuser, 5, StackOptions(method="pyramid", want_height=True))
    with pytest.raises(InputError, match="gives no map"):
        by_one_rule(fuser, 5, StackOptions(method="pyramid", want_map=True))


def test_outwards_from_the_reference():
    assert list(outwards(5, 2)) == [(2, None), (3, 2), (4, 3), (1, 2), (0, 1)]
    assert list(outwards(2, 0)) == [(0, None), (1, 0)]


def test_too_little_memory_is_refused_before_anything_is_read(fuser):
    class Unread(ArrayFrame):
        def read(self):
            raise AssertionError("read")

    sources = [Unread(np.zeros((3000, 4000, 3), np.uint8), f"{index}.png") for index in range(3)]
    fuser.memory_limit = 2e8
    with pytest.raises(InputError, match="MB are needed"):
        fuse_sources(fuser, sources, StackOptions())


def test_smoothing_takes_noise_away_and_leaves_heights_alone(fuser, make_stack):
    _, truth = make_stack(6)
    rng = np.random.default_rng(3)  # the noise is all that a frame is chosen by
    noisy = [np.clip(truth + rng.normal(0, 12, truth.shape), 0, 255).round().astype(np.uint8) for _ in range(6)]
    found = {
        smoothing: fuse_sources(fuser, of_arrays(noisy), StackOptions(smoothing=smoothing, want_height=True))
        for smoothing in (1.0, 3.0, 10.0)
    }
    plain = fuse_sources(fuser, of_arrays(noisy), StackOptions(want_height=True))
    np.testing.assert_array_equal(found[10.0].fused, plain.fused)  # as so much noise asks for
    qualities = [psnr(found[smoothing].fused, truth) for smoothing in (1.0, 3.0, 10.0)]
    assert qualities == sorted(qualities)
    assert qualities[-1] > qualities[0] + 0.5
    np.testing.assert_array_equal(found[10.0].height.position, plain.height.position)


@pytest.mark.parametrize("smoothing", [0.5, 11, -1, float("nan"), float("inf")])
def test_a_smoothing_that_is_none_is_refused(smoothing):
    with pytest.raises(InputError, match=r"`smoothing=.*give 1"):
        StackOptions(smoothing=smoothing)


def test_what_cannot_smooth_says_so(fuser):
    with pytest.raises(InputError, match="has no `smoothing`"):
        by_one_rule(fuser, 3, StackOptions(method="pyramid", smoothing=2))
    fuser.gathers = False
    with pytest.raises(InputError, match="without `smoothing`: take `model=ufa-stack`"):
        by_one_rule(fuser, 2, StackOptions(smoothing=2))


NO_FRAMES = {
    "a list": [[1, 2], [3, 4]],
    "None": None,
    "a name": "a.png",
    "float64": np.zeros((40, 50, 3)),
    "int32": np.zeros((40, 50, 3), np.int32),
    "bool": np.zeros((40, 50, 3), bool),
    "half": np.zeros((40, 50, 3), np.float16),
    "big-endian": np.zeros((40, 50, 3), ">u2"),
    "objects": np.zeros((40, 50, 3), object),
    "two channels": np.zeros((40, 50, 2), np.uint8),
    "a row": np.zeros(50, np.uint8),
    "a batch": np.zeros((1, 40, 50, 3), np.uint8),
    "empty": np.zeros((0, 50, 3), np.uint8),
    "masked": np.ma.zeros((40, 50, 3), np.uint8),
}


@pytest.mark.parametrize("what", NO_FRAMES)
@pytest.mark.parametrize("method", ["network", "pyramid"])
@pytest.mark.parametrize("gathers", [True, False])
def test_what_is_no_frame_is_a_sentence(fuser, what, method, gathers):
    """Given from Python, in any place, to any network."""
    fuser.gathers = gathers
    frames = [np.zeros((40, 50, 3), np.uint8) for _ in range(2)]
    for place, name in enumerate(("the near frame", "the far frame", "frame 3")):
        given = [*frames[:place], NO_FRAMES[what], *frames[place:]]
        with pytest.raises(InputError, match=f"^{name} (is|has) .*: give|^{name} is empty"):
            fuse_stack(fuser, given, StackOptions(method=method))


@pytest.mark.parametrize("method", ["network", "pyramid"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_what_alpha_hides_in_one_frame_another_shows(fuser, make_stack, method, dtype):
    frames, _ = make_stack(4, blur=3)
    full = 1 if dtype == np.float32 else np.iinfo(dtype).max
    frames = [(frame / 255 * full).astype(dtype) for frame in frames]
    expected = fuse_sources(fuser, of_arrays(frames), StackOptions(method=method)).fused.astype(float)
    holed = [np.dstack([frame, np.full(frame.shape[:2], full, dtype)]) for frame in frames]
    holed[0][40:90, 120:170] = 0  # far from where this frame is sharp
    holed[1][:30, 150:] = 0
    result = fuse_sources(fuser, of_arrays(holed), StackOptions(method=method)).fused
    assert (result[..., 3] == full).all()
    away = np.abs(result[..., :3] - expected).max(2) / full
    assert away[48:82, 128:162].max() < 0.02
    if method == "pyramid":  # the network that stands in here takes the hole's rim for detail
        assert np.quantile(away[30:100, 110:180], 0.95) < 0.04
        assert away.mean() < 0.01


@pytest.mark.parametrize("method", ["network", "pyramid"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_soft_alpha_is_kept(fuser, make_stack, method, dtype):
    frames, _ = make_stack(4)
    full = 1 if dtype == np.float32 else np.iinfo(dtype).max
    ramp = np.tile(np.linspace(0, full, frames[0].shape[1]), (frames[0].shape[0], 1)).astype(dtype)
    soft = [np.dstack([(frame / 255 * full).astype(dtype), ramp]) for frame in frames]
    soft[2][..., 3] = ramp // 2
    result = fuse_sources(fuser, of_arrays(soft), StackOptions(method=method)).fused
    np.testing.assert_array_equal(result[..., 3], ramp)


def test_frames_without_detail_name_the_option_that_fuses_them(fuser):
    bare = [np.full((64, 80, 3), 120, np.uint8)] * 3
    with pytest.raises(InputError, match="`keep_unregistered` fuses them"):
        fuse_sources(fuser, of_arrays(bare), StackOptions(align="affine"))
    kept = fuse_sources(fuser, of_arrays(bare), StackOptions(align="affine", keep_unregistered=True))
    np.testing.assert_array_equal(kept.fused, bare[0])


def test_frames_are_named_as_given_where_they_were_taken_in_another_order(fuser, make_stack):
    """By the numbers in their names, which came in the order of their letters: 1, 10, 11, 2, ..."""
    frames = make_stack(11)[0]
    names = [f"f{number}.png" for number in range(1, 12)]
    by_letters = sorted(range(11), key=lambda index: names[index])
    given = [frames[index] for index in by_letters]
    seen, placed = {}, []
    result = fuse_sources(
        fuser,
        of_arrays(given, [names[index] for index in by_letters]),
        StackOptions(on_aligned=lambda number, frame, _: seen.update({number: frame})),
        on_placed=lambda place, number, *_: placed.append((place, by_letters[number])),
    )
    for number, frame in enumerate(given):
        np.testing.assert_array_equal(seen[number], frame)
    assert placed == [(place, place) for place in range(11)]
    assert result.taken == result.order


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("most", [None, 1e9])
@pytest.mark.parametrize("align", ["off", "translation"])
@pytest.mark.parametrize("method", ["network", "pyramid"])
def test_what_alpha_hides_changes_nothing(fuser, make_stack, monkeypatch, method, align, most, dtype):
    """Neither where it is nor around it, where the network sees it too, nor in what is found of the frames."""
    bounded(fuser, most, monkeypatch)
    top = {np.uint8: 255, np.uint16: 65535, np.float32: 1}[dtype]
    frames = [np.dstack([frame, np.full(frame.shape[:2], 255, np.uint8)]) for frame in make_stack(4)[0]]
    frames = [(frame / 255 * top).astype(dtype) for frame in frames]
    frames[1][30:90, 40:120, 3] = 0
    found = []
    for hidden in (np.zeros(3), np.full(3, top), np.random.default_rng(1).random((60, 80, 3)) * top):
        given = [frame.copy() for frame in frames]
        given[1][30:90, 40:120, :3] = hidden
        kept = given[1].copy()
        wanted = {"want_height": True, "want_map": True} if method == "network" else {}
        result = fuse_sources(fuser, of_arrays(given), StackOptions(method=method, align=align, **wanted))
        found.append((result.fused, result.map, result.disagreement, result.warnings, result.reference, result.matched))
        np.testing.assert_array_equal(given[1], kept)
    for other in found[1:]:
        np.testing.assert_array_equal(other[0], found[0][0])
        assert (other[1] is None and found[0][1] is None) or (other[1] == found[0][1]).all()
        assert other[2:] == found[0][2:]


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (1, 3000), (3000, 2)])
@pytest.mark.parametrize("method", ["network", "pyramid"])
@pytest.mark.parametrize("align", ["off", "affine"])
def test_the_smallest_frames_and_strips(fuser, shape, method, align):
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (*shape, 3), np.uint8) for _ in range(4)]
    options = StackOptions(align=align, method=method, keep_unregistered=align != "off", want_height=method == "network")
    assert fuse_sources(fuser, of_arrays(frames), options).fused.shape == (*shape, 3)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 2), (37, 53)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_hidden_pixels_are_as_even_as_what_is_around(shape, dtype):
    frame = np.full((*shape, 4), 200, dtype)
    frame[: shape[0] // 2 + 1, : shape[1] // 2, 3] = 0
    frame[..., :3][frame[..., 3] == 0] = 7
    result = without_hidden(frame)
    assert (result.dtype, result.shape) == (frame.dtype, frame.shape)
    np.testing.assert_array_equal(result[..., 3], frame[..., 3])
    if 0 < (frame[..., 3] == 0).sum() < frame[..., 3].size:
        np.testing.assert_allclose(result[..., :3], 200, rtol=1e-5)
    for whole in (frame[..., :3], frame[..., 0], np.where(frame == 0, 1, frame).astype(dtype)):
        assert without_hidden(whole) is whole


@pytest.mark.parametrize("crop", [False, True])
def test_what_is_cut_already_is_not_cut_again(fuser, make_stack, crop):
    """`crop` in the options cuts; `Stacked.cut` after that took the margins off once more."""
    frames = make_stack(3)[0]
    frames = [np.roll(frame, (2 * index, 3 * index), (0, 1)) for index, frame in enumerate(frames)]
    asked = StackOptions(align="translation", crop=crop, want_height=True, want_map=True, want_confidence=True)
    result = fuse_sources(fuser, of_arrays(frames), asked)
    size = result.crop.bottom - result.crop.top, result.crop.right - result.crop.left
    assert size != frames[0].shape[:2]
    for _ in range(2):
        result = result.cut()
        planes = (result.fused, result.map, result.confidence, result.height.position, result.height.confidence)
        assert {plane.shape[:2] for plane in planes} == {size}


@pytest.mark.parametrize(("shuffled", "missing"), [(True, 0), (True, 8), (True, 4), (False, 8)])
def test_heights_end_where_the_stack_does_and_a_frame_without_a_place_is_told(fuser, make_stack, tmp_path, shuffled, missing):
    """A black frame has no place in an order that is found by where frames are sharp: the last one has another height."""
    frames = make_stack(9, height=200, width=360)[0]
    order = [3, 0, 7, 5, 8, 1, 6, 2, 4] if shuffled else list(range(9))
    given = [frames[index] * np.uint8(index != missing) for index in order]
    result = fuse_sources(fuser, of_arrays(given), StackOptions(align="translation", want_height=True))
    assert list(result.left_out) == [order.index(missing)]
    last = 7 if shuffled else 8
    assert result.last_place == last
    outputs = Outputs(tmp_path / "f.png", depth=tmp_path / "d.png", height=HeightOptions(z_step=0.5, z_unit="mm"))
    told = write_beside(result, outputs, order="bgr", force=False, inputs=[])["heights"]
    assert (told["last"], told["per_level"]) == (last * 0.5, pytest.approx(last * 0.5 / 65534))
    levels = cv2.imread(str(tmp_path / "d.png"), cv2.IMREAD_UNCHANGED)
    heights = np.where(levels > 0, (levels - 1.0) * told["per_level"] / 0.5, np.nan)
    known = result.height.confidence >= SURE
    # What is written is averaged along surfaces; counted from elsewhere, or to another last frame, it were farther off.
    np.testing.assert_allclose(heights[known], result.height.position[known], atol=0.1)
    assert any("belongs in the order of focus is not known" in warning for warning in result.warnings) == shuffled
