"""Coverage-guided fuzzing of the parsers that are ours; the fast tests throw at random, with Hypothesis, what comes to mind.

    pip install atheris
    python tests/fuzz/guided.py all -max_total_time=60

The first argument is a name of `TARGETS`, or ``all`` for each of them in turn; the others are libFuzzer's. What ends neither in
an answer nor in one sentence ends the run with a traceback, and the input lies in a file ``crash-*``.
"""

import io
import subprocess
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["ufafuse"]):
    from ufafuse.commands.quantities import megabytes_from, seconds_from, sides_from
    from ufafuse.runtime.batches.manifest import read_manifest
    from ufafuse.runtime.errors import UfaError
    from ufafuse.runtime.onnx_summary import summary_of
    from ufafuse.runtime.pfnc import BrokenBuffer, picture_from
    from ufafuse.runtime.pictures.jpegscan import fault_in_scan
    from ufafuse.runtime.pictures.metadata import metadata_of, with_metadata
    from ufafuse.runtime.pixels import declared_size
    from ufafuse.runtime.serving.options import model_spec
    from ufafuse.runtime.stream.alarms import alarms_from
    from ufafuse.runtime.stream.messages import NEAR
    from ufafuse.runtime.stream.sources import source_from_text
    from ufafuse.runtime.stream.sources.multipart import PartReader
    from ufafuse.runtime.stream.sources.numbers import Numbers
    from ufafuse.runtime.stream.web.address import parse_address

SCRATCH = Path(tempfile.mkdtemp(prefix="fuzz"))


def alarms(drawn):
    figure, sign = drawn.PickValueInList(["", "usual", "sharp", "wins", "shift"]), drawn.PickValueInList(["", "<", ">", "<="])
    alarms_from([f"{figure}{sign}{drawn.ConsumeUnicode(20)}", f"sharp<0.5 for {drawn.ConsumeUnicode(12)}"])


def typed(drawn):
    """What people type as a quantity, an address or a model."""
    parsers = [
        lambda text: megabytes_from("--max-memory", text),
        lambda text: seconds_from("--gap", text),
        sides_from,
        lambda text: parse_address(text, "view"),
        model_spec,
    ]
    parsers[drawn.ConsumeIntInRange(0, len(parsers) - 1)](drawn.ConsumeUnicode(40))


def sources(drawn):
    scheme = drawn.PickValueInList(["sim:?", "0?", "http://", "rtsp://", "gst:", "/dev/video0?", ""])
    source_from_text(scheme + drawn.ConsumeUnicodeNoSurrogates(60).replace("\0", ""), NEAR)


def names(drawn):
    """Names of frames, whose numbers are found."""
    given, numbers = [drawn.ConsumeUnicode(30) for _ in range(drawn.ConsumeIntInRange(1, 6))], Numbers()
    numbers.learn(given)
    for name in given:
        numbers.of(name)


def parts(drawn):
    """Motion JPEG as a server sends it."""
    reader = PartReader(io.BytesIO(drawn.ConsumeBytes(2000)), "f")
    try:
        while True:
            reader.next()
    except ValueError as error:
        assert str(error).strip()


def manifest(drawn):
    path = SCRATCH / "any.csv"
    path.write_bytes(drawn.PickValueInList([b"near,far,out\n", b"near,far\n", b""]) + drawn.ConsumeBytes(400))
    read_manifest(path, "out")


def parquet(drawn):
    path = SCRATCH / "any.parquet"
    path.write_bytes(_mutated(PARQUET, drawn))
    read_manifest(path, "out")


def pfnc(drawn):
    kind = drawn.PickValueInList(["Mono", "BayerRG", "BayerGB", "RGB", "BGR", "BGRa", "YUV422", "YCbCr", ""])
    rest = drawn.PickValueInList(["1p", "8", "10", "12p", "12Packed", "10Packed", "16", "8_Planar", "_8", "_8_UYVY", "422_8"])
    name = kind + (rest if drawn.ConsumeBool() else drawn.ConsumeUnicode(12))
    height, width, stride = (drawn.ConsumeIntInRange(-2, 40) for _ in range(3))
    try:
        picture_from(drawn.ConsumeBytes(4000), name, height, width, stride=stride if stride > 0 else None)
    except BrokenBuffer as error:
        assert str(error).strip()


def headers(drawn):
    """The size that any picture declares."""
    declared_size(drawn.ConsumeBytes(600))


def notes(drawn):
    """A picture's Exif and profile, read and put into another one."""
    found = metadata_of(_mutated(drawn.PickValueInList(PICTURES), drawn))
    for picture in PICTURES:
        with_metadata(picture, found, size=(8, 8), alpha=False)


def scans(drawn):
    fault_in_scan(_mutated(PICTURES[0], drawn))


def graphs(drawn):
    path = SCRATCH / "any.onnx"
    path.write_bytes(drawn.ConsumeBytes(1000))
    summary_of(path)


TARGETS = [alarms, typed, sources, names, parts, manifest, parquet, pfnc, headers, notes, scans, graphs]


def _mutated(data, drawn):
    data = bytearray(data)
    while drawn.remaining_bytes():
        at = drawn.ConsumeIntInRange(0, max(0, len(data) - 1))
        data[at : at + drawn.ConsumeIntInRange(0, 3)] = drawn.ConsumeBytes(drawn.ConsumeIntInRange(0, 4))
    return bytes(data)


def _pictures():
    import cv2
    import numpy as np

    frame = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
    return [cv2.imencode(suffix, frame)[1].tobytes() for suffix in (".jpg", ".png", ".webp")]


def _parquet():
    import pyarrow as pa
    import pyarrow.parquet

    stream = io.BytesIO()
    pa.parquet.write_table(pa.table({"near": ["a.png"], "far": ["b.png"], "out": ["c"]}), stream)
    return stream.getvalue()


PICTURES, PARQUET = _pictures(), _parquet()


def main():
    """Fuzz the target that is named, or each in a process of its own."""
    name, *options = sys.argv[1:] or ["all"]
    if name == "all":
        command = [sys.executable, __file__]
        codes = [subprocess.run([*command, it.__name__, *options], check=False).returncode for it in TARGETS]
        sys.exit(any(codes))
    target = next(target for target in TARGETS if target.__name__ == name)

    def once(data):
        try:
            target(atheris.FuzzedDataProvider(data))
        except UfaError as error:
            assert str(error).strip(), "an error without a sentence"

    atheris.Setup([sys.argv[0], *options], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
