import numpy as np
import pytest

from ufafuse.runtime.stream.focus import SharpnessSorter
from ufafuse.runtime.stream.messages import FAR, NEAR, Frame
from ufafuse.runtime.stream.sorters import InTurn
from ufafuse.runtime.stream.sources.sim import SimSettings, SimSource


def sides_of(pictures):
    sorter = SharpnessSorter()
    return [sorter.side_of(Frame(picture, 0, 0.0, 0.0)) for picture in pictures]


def test_order_counts_the_frames_that_the_timestamps_show_to_be_missing():
    rng = np.random.default_rng(2)
    numbers = [0, 1, 2, *(number for number in range(3, 300) if rng.random() > 0.2)]
    sorter = InTurn(2, 0, by_index=False)
    frames = [Frame(np.zeros((2, 2)), 0, (number + rng.uniform(-0.1, 0.1)) / 30, 0.0) for number in numbers]
    assert [plane for frame in frames for _, plane in sorter.take(frame)] == [number % 2 for number in numbers]


@pytest.mark.parametrize("speed", [0, 4, 20])
def test_alternating_frames_are_told_apart(speed):
    line = SimSource(None, NEAR, SimSettings(alternate=True, speed=speed))
    assert sides_of(line.picture_of(number) for number in range(60)) == [NEAR, FAR] * 30


def test_a_repeated_focus_is_noticed_from_the_start():
    line = SimSource(None, NEAR, SimSettings(alternate=True, speed=1))
    numbers = [100, 102, 104, 105, 106, 107, 109, 111, 112, 114]
    assert sides_of(line.picture_of(number) for number in numbers) == [number % 2 for number in numbers]


@pytest.mark.parametrize("kind", ["grey", "alpha", "sixteen", "one channel"])
def test_every_kind_of_picture_is_judged(kind):
    line = SimSource(None, NEAR, SimSettings(alternate=True))
    convert = {
        "grey": lambda picture: picture[..., 1],
        "alpha": lambda picture: np.dstack([picture, picture[..., 0]]),
        "sixteen": lambda picture: picture.astype(np.uint16) * 257,
        "one channel": lambda picture: picture[..., 1:2],
    }[kind]
    assert sides_of(convert(line.picture_of(number)) for number in range(10)) == [NEAR, FAR] * 5


def test_a_still_flat_picture_stays_on_one_side():
    assert sides_of([np.full((64, 64), 100, np.uint8)] * 4) == [NEAR] * 4
