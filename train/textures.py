"""The surfaces of drawn scenes: drawn pictures, of which some are drawn anew with every step, and photographs among them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ufafuse.train import drawing
from ufafuse.train.drawing import Rng
from ufafuse.train.photos import Pictures
from ufafuse.train.recipe import TrainOptions
from ufafuse.train.scenes import Texture

SIDE = 640  # pixels of a drawn picture
BANK = 260  # drawn pictures that a scene's surfaces are taken from
RENEWED = 4  # scenes after which the oldest of them gives way to a new one


class Textures:
    """Pictures without end: which ones scene number `n` may show depends on the seed and on `n` alone."""

    def __init__(
        self, seed: Sequence[int], photos: Sequence[NDArray[np.uint8]] = (), *, share: float = 0.45, side: int = SIDE
    ) -> None:
        """Draw nothing yet.

        Args:
            seed: Numbers that the drawn pictures follow from.
            photos: Photographs, uint8 H x W x 3, BGR.
            share: How many of the surfaces are photographs, where there are any.
            side: Of the drawn pictures, in pixels.
        """
        self._seed, self._photos, self._share, self._side = tuple(seed), photos, share, side
        self._drawn: dict[int, NDArray[np.uint8]] = {}

    def again(self) -> "Textures":
        """Return the same pictures for another sequence of scenes, which remembers those that it needs."""
        return Textures(self._seed, self._photos, share=self._share, side=self._side)

    def at(self, scene: int) -> Texture:
        """Return what gives scene number `scene` its pictures."""
        first = scene // RENEWED
        for number in [number for number in self._drawn if not first <= number < first + BANK]:
            del self._drawn[number]

        def texture(rng: Rng) -> NDArray[np.uint8]:
            if len(self._photos) and rng.random() < self._share:
                return self._photos[int(rng.integers(len(self._photos)))]
            return self._picture(first + int(rng.integers(BANK)))

        return texture

    def _picture(self, number: int) -> NDArray[np.uint8]:
        if number not in self._drawn:
            self._drawn[number] = drawing.picture(self._side, np.random.default_rng((*self._seed, number)))
        return self._drawn[number]


@dataclass(frozen=True)
class Surfaces:
    """The pictures of a run's scenes.

    Attributes:
        both: those to train on, and those to validate on, which have nothing in common with them.
        photographs: how many photographs are trained on.
        skipped: photographs that cannot be used, and why.
        names: of those that are trained on or held out.
        warnings: what there is to tell of them.
    """

    both: tuple[Textures, Textures]
    photographs: int
    skipped: list[str]
    names: list[str]
    warnings: list[str]


def surfaces(options: TrainOptions) -> Surfaces:
    """Return the pictures of a run's scenes; `InputError` where its photographs cannot be used."""
    train: Sequence[NDArray[np.uint8]] = ()
    held_out: Sequence[NDArray[np.uint8]] = ()
    skipped: list[str] = []
    names: list[str] = []
    warnings: list[str] = []
    if options.images is not None:
        photos = Pictures(options.images, skip_bad=options.skip_bad)
        train, skipped, names, warnings = photos, photos.skipped, photos.names, photos.warnings
        if options.val_pairs is None and options.val_stacks is None:
            train, held_out = photos.split(options.val_share, options.seed)
    one, other = (
        Textures((options.seed, stream), photographs, share=options.photo_share, side=SIDE)
        for stream, photographs in ((1, train), (2, held_out))
    )
    return Surfaces((one, other), len(train), skipped, names, warnings)
