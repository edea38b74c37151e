"""Pairs of drawn scenes, for whom photographs with labels are not at hand or not free: the label is that of what was drawn."""

import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.arrays import Array, Floats
from ufafuse.train.data import PairDataset, PairOptions
from ufafuse.train.drawing import Rng
from ufafuse.train.scenes import bodies, part, surface
from ufafuse.train.textures import Textures

SCENE = 512  # pixels
SAME = 0.25  # share of scenes whose objects have no outline in the picture: the focus changes within one surface
EPOCH = 1 << 20  # scenes that count as one run through all of them


class DrawnScenes:
    """Pictures with labels, as `ufafuse.train.photos.Photos` gives them; scene `n` depends on the seed and on `n` alone."""

    def __init__(self, textures: Textures, *, seed: int, side: int = SCENE) -> None:
        """Draw scenes of `side` x `side` pixels, with surfaces from `textures`."""
        self._textures, self._seed, self._side = textures, seed, side
        self._last: tuple[int, tuple[NDArray[np.uint8], NDArray[np.uint8]]] | None = None

    def __len__(self) -> int:
        """Return a number that no run comes to the end of."""
        return EPOCH

    def __getitem__(self, number: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Return picture (uint8 H x W x 3, BGR) and label (uint8 H x W: 255 where the objects are) of scene `number`."""
        if self._last is None or self._last[0] != number:  # several pairs of a scene come one after the other
            self._last = number, self._drawn(number)
        return self._last[1]

    def _drawn(self, number: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        rng, texture = np.random.default_rng((self._seed, 3, number)), self._textures.at(number)
        light = surface(rng, self._side, texture)
        cover = drawn_cover(self._side, rng)
        if rng.random() >= SAME:
            light += cover[..., None] * (surface(rng, self._side, texture) - light)
        return np.asarray(np.rint(light), np.uint8), np.asarray(255 * (cover > 0.5), np.uint8)

    def name(self, number: int) -> str:
        """Return the scene's name."""
        return f"drawn-{number}"


class DrawnPairs(PairDataset):
    """The sequence of pairs of drawn scenes: a new scene for every pair, or for every `of_each` pairs that follow each other.

    Drawing a scene takes ten times as long as making a pair of it.
    """

    def __init__(self, scenes: DrawnScenes, options: PairOptions, *, seed: int, of_each: int = 1) -> None:
        """Draw from `scenes`; see `PairDataset`."""
        super().__init__(scenes, options, seed=seed)
        self._of_each = of_each

    def _photo(self, index: int) -> int:
        return index // self._of_each

    def _other_label(self, rng: Rng) -> Array:
        return np.asarray(255 * (drawn_cover(SCENE, rng) > 0.5), np.uint8)


def drawn_cover(side: int, rng: Rng) -> Floats:
    """Draw where the objects of a scene are, side x side in [0, 1]: rounded bodies, or parts with straight edges and pins."""
    cover = np.zeros((side, side), np.float32)
    if rng.random() < 0.6:
        bodies(cover, rng)
    else:
        for _ in range(int(rng.integers(1, 6))):
            part(cover, rng)
    return np.asarray(1 - cover if rng.random() < 0.3 else cover, np.float32)
