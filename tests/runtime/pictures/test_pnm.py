"""Netpbm's pictures that are not whole, or say what cannot be."""

import numpy as np
import pytest

from ufafuse.runtime.errors import InputError
from ufafuse.runtime.pictures.decode import decode_picture

HEIGHT, WIDTH = 12, 10
LEVELS = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def in_text(values):
    return " ".join(map(str, values.ravel())).encode()


def written(kind, most=255, levels=LEVELS):
    """A picture of one of the seven kinds: its header, and its samples."""
    grey, wide = levels[..., 0], levels.astype(">u2" if most > 255 else np.uint8)
    size = f"{WIDTH} {HEIGHT}\n"
    pam = f"P7\nWIDTH {WIDTH}\nHEIGHT {HEIGHT}\nDEPTH 3\nMAXVAL {most}\nTUPLTYPE RGB\nENDHDR\n"
    header = {1: f"P1\n{size}", 4: f"P4\n{size}", 7: pam}.get(kind, f"P{kind}\n{size}{most}\n")
    samples = {
        1: lambda: in_text((grey > 127).astype(int)),
        2: lambda: in_text(grey),
        3: lambda: in_text(levels),
        4: lambda: np.packbits(grey > 127, axis=1).tobytes(),
        5: wide[..., 0].tobytes,
    }.get(kind, wide.tobytes)()
    return header.encode(), samples


@pytest.mark.parametrize("most", [255, 65_535])
@pytest.mark.parametrize("kind", range(1, 8))
def test_a_picture_that_was_cut_off_is_refused_wherever_it_ends(kind, most):
    header, samples = written(kind, most)
    assert decode_picture(header + samples, "x.pnm").array.shape[:2] == (HEIGHT, WIDTH)
    ends = [len(samples) - 1, *range(0, len(samples) - 1, 7)]
    if kind in (2, 3):  # the last number may have lost a digit, which nobody sees
        ends[0] = samples.rindex(b" ")
    for end in ends:
        with pytest.raises(InputError, match=r"^x\.pnm is damaged \(truncated, \d+ of \d+ samples\)"):
            decode_picture(header + samples[:end], "x.pnm")


@pytest.mark.parametrize(("kind", "most"), [(2, 200), (3, 200), (5, 200), (6, 200), (7, 200), (6, 1000), (2, 1000)])
def test_levels_beyond_white_are_white_and_that_is_said(kind, most):
    levels = LEVELS.astype(np.int64) * (1 if most < 256 else 5)
    header, samples = written(kind, most, levels)
    picture = decode_picture(header + samples, "x.pnm")
    stored = levels[..., :1] if kind in (2, 5) else levels
    beyond = int((stored > most).sum())
    said = f"{beyond} of its {stored.size} samples are beyond {most}, which it calls white: they are read as white"
    assert beyond
    assert picture.warnings == (said,)
    assert int(picture.array.max()) == (255 if most < 256 else most)
    assert not decode_picture(b"".join(written(kind, most, np.minimum(levels, most))), "x.pnm").warnings
