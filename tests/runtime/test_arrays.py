"""What is shown of results that hold pictures."""

import numpy as np

from ufafuse.runtime.fusion import Fusion
from ufafuse.runtime.registration.covering import Crop
from ufafuse.runtime.stacks.height import Height
from ufafuse.runtime.stacks.options import Stacked

PICTURE, PLANE = np.zeros((4, 6, 3), np.uint8), np.zeros((4, 6), np.float32)


def test_results_are_shown_in_a_line_without_their_pixels():
    stacked = Stacked(PICTURE, Crop(0, 4, 0, 6), map=PLANE, height=Height(PLANE, PLANE), gains=[(1.0,), (1.1,)], ms=12.3456789)
    assert repr(stacked) == (
        "Stacked(fused=<uint8 4 x 6 x 3>, crop=Crop(top=0, bottom=4, left=0, right=6), map=<float32 4 x 6>, "
        "gains=<2 of tuple>, ms=12.3457, height=Height(position=<float32 4 x 6>, confidence=<float32 4 x 6>))"
    )
    assert repr(Fusion(PICTURE, None, None)) == "Fusion(fused=<uint8 4 x 6 x 3>)"
    assert "left out" in repr(Stacked(PICTURE, Crop(0, 4, 0, 6), left_out={1: "left out"}))
