# ruff: noqa: T201 - run by hand, it tells what it finds
"""Mutates picture files and decodes them, in a process with a memory limit: ``python fuzz.py SEED COUNT``; not a test module.

Anything but a picture or an `InputError` ends it with a traceback; a decoding over five seconds is printed and counts as a
failure. The test beside it runs a few; thousands are run by hand before a release.
"""

import contextlib
import faulthandler
import io
import random
import resource
import sys
import tempfile
import time
from pathlib import Path

MEMORY = 3 << 30
SLOW = 5.0


def seeds(folder):
    """The files of the table of kinds, made anew."""
    sys.path.insert(0, str(folder))
    import pytest
    import test_kinds

    made = {}
    for name, (make, _, _) in test_kinds.READ.items():
        with contextlib.suppress(pytest.skip.Exception):  # what cannot be written here
            made[name] = make()
    made["dng"] = test_kinds.dng()
    made["tiff stack"] = test_kinds.REFUSED["tiff stack"][0]()
    return made | more()


def more():
    """HEIC and OpenEXR, where their readers are installed."""
    import numpy as np

    found, picture = {}, np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    try:
        import pillow_heif

        stream = io.BytesIO()
        pillow_heif.encode("RGB", (64, 64), picture.tobytes(), stream, quality=80)
        found["heic"] = stream.getvalue()
    except ImportError:
        pass
    return found


def mutated(data, rng):
    """Bytes changed, cut out, put in, doubled, or the end lost."""
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 12))):
        at = rng.randrange(len(data) if rng.random() < 0.5 else min(len(data), 400))
        kind = rng.randrange(6)
        if kind == 0:
            data[at] = rng.randrange(256)
        elif kind == 1:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 2:
            data[at : at + rng.randrange(1, 9)] = rng.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\x80"))
        elif kind == 3:
            del data[at : at + rng.randrange(1, 40)]
        elif kind == 4:
            data[at:at] = data[at : at + rng.randrange(1, 40)]
        else:
            del data[max(30, at) :]
        if len(data) < 8:
            break
    return bytes(data)


def main(seed, count):
    """Decode ``count`` mutations."""
    from ufafuse.runtime.errors import InputError
    from ufafuse.runtime.pictures.decode import decode_picture

    files = seeds(Path(__file__).resolve().parent)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    faulthandler.enable()
    rng, read, slow = random.Random(seed), 0, 0
    names = sorted(files)
    for number in range(count):
        name = names[number % len(names)]
        data = mutated(files[name], rng)
        start = time.process_time()
        try:
            picture = decode_picture(data, "x", inside="thoroughly")
            read += 1
            assert picture.array.size
        except InputError as error:
            assert str(error).startswith("x"), error
        except BaseException:
            kept = Path(tempfile.gettempdir()) / f"fuzz-{seed}-{number}.bin"
            kept.write_bytes(data)
            print("FAILED", name, seed, number, "kept as", kept, flush=True)
            raise
        if time.process_time() - start > SLOW:
            print("SLOW", name, seed, number, flush=True)
            slow += 1
    print(f"{count} mutations of {len(names)} kinds: {read} still read, the others refused; {slow} slow", flush=True)
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
