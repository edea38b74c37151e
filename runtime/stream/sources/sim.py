"""A simulated line: a picture that moves past two focus settings, with the faults of real cameras on request."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ufafuse.runtime.arrays import Array
from ufafuse.runtime.filebytes import same_file
from ufafuse.runtime.images import read_image
from ufafuse.runtime.pixels import check_pixels, most_pixels
from ufafuse.runtime.stream.drawn_numbers import clear_numbers, draw_number
from ufafuse.runtime.stream.messages import FAR, NEAR, SIDES, Frame
from ufafuse.runtime.stream.sources.base import BrokenFrame, EndOfSource, Source, SourceLost
from ufafuse.runtime.stream.sources.params import Params

if TYPE_CHECKING:
    from collections.abc import Sequence

_BUFFERED = 4  # frames that a camera's driver keeps for a late reader
_STRIPS = 16  # the line is kept as several strips, each longer than the frame
_SAMPLE = Path(__file__).with_name("sample.jpg")  # "coffee" by Rachel Michetti (CC0), as shipped with scikit-image
_BANDS = 4  # depth changes this often along one length of the picture

Spans = list[tuple[float, float]]


@dataclass(frozen=True)
class SimSettings:
    """What the simulated line does.

    Args:
        rate: Frames per second.
        defocus: Blur of what is out of focus, in pixels (sigma = half of it).
        size: Height and width of the frames.
        speed: Pixels that the line moves from frame to frame.
        jitter: Each frame is up to this many milliseconds early or late.
        drop: Share of frames that never arrive, 0 to 1.
        broken: Share of frames that arrive damaged, 0 to 1.
        stall: (start, length) in seconds: times without a frame.
        lost: (start, length) in seconds: times in which the source is gone and cannot be opened.
        resize: (moment, (height, width)): changes of the frames' size.
        count: The source ends after this many frame times; 0 means never.
        alternate: One camera that moves its focus, from the last setting to the first at once.
        back: It goes back through the settings between instead.
        planes: Its focus settings.
        settle: Frames after each of its steps in which the lens still moves.
        hold: Settled frames at each setting.
        seed: Of jitter, drop and broken.
        drift: (start, length) in seconds: the lens loses its focus from then on, all of it after that time.
        hand: (start, length) in seconds: times with a hand before the lens.
        exposure: (start, factor): from then on the picture is that much brighter.
        frozen: (start, length) in seconds: times in which the same picture comes again and again.
        behind: (start, length) in seconds: times in which each picture is that of the frame before.
    """

    rate: float = 30.0
    defocus: float = 8.0
    size: tuple[int, int] = (480, 640)
    speed: int = 4
    jitter: float = 0.0
    drop: float = 0.0
    broken: float = 0.0
    stall: Spans = field(default_factory=list)
    lost: Spans = field(default_factory=list)
    resize: list[tuple[float, tuple[int, int]]] = field(default_factory=list)
    count: int = 0
    alternate: bool = False
    back: bool = False
    planes: int = 2
    settle: int = 0
    hold: int = 1
    seed: int = 0
    drift: Spans = field(default_factory=list)
    hand: Spans = field(default_factory=list)
    exposure: Spans = field(default_factory=list)
    frozen: Spans = field(default_factory=list)
    behind: Spans = field(default_factory=list)

    @classmethod
    def from_params(cls, params: Params) -> SimSettings:
        """Read ``?rate=...``; raises InputError for what is out of range or unknown."""
        rate = params.number("rate", cls.rate, low=0.01, high=10_000)
        focus = params.choice("focus", ("fixed", "alternate", "back"))
        settings = cls(
            rate=rate,
            defocus=params.number("defocus", cls.defocus, high=200),
            size=params.size("size") or cls.size,
            speed=params.whole("speed", cls.speed),
            jitter=params.number("jitter", cls.jitter),
            drop=params.number("drop", cls.drop, high=1),
            broken=params.number("broken", cls.broken, high=1),
            stall=params.spans("stall"),
            lost=params.spans("lost"),
            resize=params.sizes("resize"),
            count=params.whole("count", cls.count),
            alternate=focus != "fixed",
            back=focus == "back",
            planes=params.whole("planes", cls.planes, low=2),
            settle=params.whole("settle", cls.settle),
            hold=params.whole("hold", cls.hold, low=1),
            seed=params.whole("seed", cls.seed),
            drift=params.spans("drift"),
            hand=params.spans("hand"),
            exposure=params.spans("exposure"),
            frozen=params.spans("frozen"),
            behind=params.spans("behind"),
        )
        params.finish()
        return settings


class SimSource(Source):
    """Frames of a simulated line; each carries its number (`ufafuse.runtime.stream.drawn_numbers`).

    Two of them with the same rate show the same line at the same moments, one in focus where the other is not.

    Args:
        picture: An image file to move past the camera; None: the sample picture.
        side: `NEAR` or `FAR`.
        settings: Rate, defocus, faults.
        most: Pixels that a frame may have; None: as `most_pixels` says for this machine.

    Raises:
        InputError: The picture cannot be read, or a size is too small to carry a number, or too large.
    """

    def __init__(
        self, picture: Path | None, side: int, settings: SimSettings | None = None, *, most: int | None = None
    ) -> None:
        self._settings = settings or SimSettings()
        self._side = side
        self._file = _SAMPLE if picture is None else picture
        self._picture = _as_bgr(read_image(self._file, most=most))
        self._strips: dict[tuple[int, int], tuple[list[Array], int]] = {}
        self._epoch = 0.0
        self._next = 0
        self.name = f"sim:{picture or ''}"
        self.size = self._settings.size
        strips = _STRIPS // 2 * (self._settings.planes if self._settings.alternate else 2)
        for _, size in [(0.0, self._settings.size), *self._settings.resize]:
            check_pixels(size, self.name, (most_pixels() if most is None else most) // strips)
            draw_number(np.zeros(size, np.uint8), 0, side)  # refuses sizes that cannot carry a number, before anything runs
        self._strip(self._settings.size)

    def reads(self, path: Path) -> bool:
        """Whether it is the picture."""
        return same_file(path, self._file)

    def example(self) -> Array:
        """Colour of 8 bits."""
        return self._picture[:1, :1]

    def begin(self, epoch: float) -> None:
        """All simulated sources of a run count from the same moment."""
        self._epoch = epoch

    def open(self) -> None:
        """Fails while the simulated loss lasts."""
        if _within(self._settings.lost, time.monotonic() - self._epoch):
            raise SourceLost("the simulated camera is away")

    def read(self, timeout: float) -> Frame | None:
        """The next frame when its time has come."""
        until = time.monotonic() + timeout
        while True:
            number = self._due_number()
            moment = number / self._settings.rate
            if _within(self._settings.lost, moment) and _within(self._settings.lost, time.monotonic() - self._epoch):
                raise SourceLost("the simulated camera went away")
            chance = random.Random(f"{self._settings.seed}-{self._side}-{number}")  # noqa: S311 - faults, not secrets
            early_or_late = chance.uniform(-1, 1) * self._settings.jitter / 1000
            exposed = self._epoch + moment + early_or_late
            if exposed > until:
                time.sleep(max(0.0, until - time.monotonic()))
                return None
            time.sleep(max(0.0, exposed - time.monotonic()))
            self._next = number + 1
            if _within(self._settings.stall, moment) or chance.random() < self._settings.drop:
                continue
            if chance.random() < self._settings.broken:
                raise BrokenFrame(f"simulated damage in frame {number}")
            return Frame(self.picture_of(number), number, exposed, time.monotonic())

    def _due_number(self) -> int:
        """The number of the next frame; those that nobody came for in time are gone, as in a camera's driver."""
        passed = int((time.monotonic() - self._epoch) * self._settings.rate)
        number = max(self._next, passed - _BUFFERED)
        if self._settings.count and number >= self._settings.count:
            raise EndOfSource
        return number

    def picture_of(self, number: int) -> Array:
        """What this side sees as frame ``number``: H x W x 3, uint8, BGR."""
        moment = number / self._settings.rate
        number = self._shown(number, moment)
        size = self._settings.size
        for moment_of, changed in self._settings.resize:
            if moment >= moment_of:
                size = changed
        strips, period = self._strip(size)
        left = number * self._settings.speed % period
        window = np.s_[:, left : left + size[1]]
        plane, moving = self._focus(number)
        if moving:  # between the last setting and this one
            before = strips[self._focus(number - self._settings.settle - self._settings.hold)[0]][window]
            image = cv2.GaussianBlur(cv2.addWeighted(before, 0.5, strips[plane][window], 0.5, 0), (0, 0), 1.5)
        else:
            image = strips[plane][window].copy()
        image = self._spoiled(image, moment)
        bands = {0: NEAR, len(strips) - 1: FAR}
        if moving or plane not in bands or _within(self._settings.hand, moment):
            clear_numbers(image)
        else:
            draw_number(image, number, bands[plane])
        return image

    def _shown(self, number: int, moment: float) -> int:
        """The number of the picture that is shown as frame ``number``."""
        for start, length in self._settings.frozen:
            if start <= moment < start + length:
                return int(start * self._settings.rate)
        return max(0, number - 1) if _within(self._settings.behind, moment) else number

    def _spoiled(self, image: Array, moment: float) -> Array:
        """What a lens that drifts, a change of light or a hand make of the picture."""
        for start, length in self._settings.drift:
            lost = min(1.0, (moment - start) / max(length, 1e-9))
            if lost > 0:
                image = cv2.GaussianBlur(image, (0, 0), max(0.1, lost * self._settings.defocus / 2))
        for start, factor in self._settings.exposure:
            if moment >= start:
                image = cv2.convertScaleAbs(image, alpha=factor)
        if _within(self._settings.hand, moment):
            image = cv2.GaussianBlur(cv2.convertScaleAbs(image, alpha=0.05, beta=10), (0, 0), 12)
        return image

    def _focus(self, number: int) -> tuple[int, bool]:
        """The focus setting of frame ``number``, and whether the lens still moves towards it."""
        settings = self._settings
        if not settings.alternate:
            return self._side, False
        step, place = divmod(number, settings.settle + settings.hold)
        if not settings.back:
            return step % settings.planes, place < settings.settle
        way = step % (2 * (settings.planes - 1))
        return min(way, 2 * (settings.planes - 1) - way), place < settings.settle

    def _strip(self, size: tuple[int, int]) -> tuple[list[Array], int]:
        """The line as each focus setting sees it, long enough for every position of the window, and its period in pixels."""
        if size not in self._strips:
            planes = self._settings.planes if self._settings.alternate else 2
            self._strips[size] = _strips(self._picture, size, self._settings.defocus, planes)
        return self._strips[size]


def _strips(picture: Array, size: tuple[int, int], defocus: float, planes: int) -> tuple[list[Array], int]:
    height, width = size
    scaled = cv2.resize(picture, (max(2, round(picture.shape[1] * height / picture.shape[0])), height))
    sharp = np.hstack([scaled, scaled[:, ::-1]])  # mirrored, so that the end meets the start
    period = sharp.shape[1]
    sharp = np.hstack([sharp] * (1 + -(-width // period)))[:, : period + width]
    blurred = cv2.GaussianBlur(sharp, (0, 0), defocus / 2) if defocus > 0 else sharp
    columns = np.arange(sharp.shape[1]) % period
    depth = columns * planes * _BANDS // period % planes
    return [np.where((depth == plane)[np.newaxis, :, np.newaxis], sharp, blurred) for plane in range(planes)], period


def _as_bgr(image: Array) -> Array:
    eight = image if image.dtype == np.uint8 else (image >> 8).astype(np.uint8)
    return cv2.cvtColor(eight, cv2.COLOR_GRAY2BGR) if eight.ndim == 2 else np.ascontiguousarray(eight[..., :3])


def _within(spans: Sequence[tuple[float, float]], moment: float) -> bool:
    return any(start <= moment < start + length for start, length in spans)


def sim_source(text: str, side: int, *, most: int | None = None) -> SimSource:
    """A source from ``[PICTURE][?rate=...]``, what stands after ``sim:``.

    Raises:
        InputError: The picture or a parameter cannot be used.
    """
    picture, _, parameters = text.partition("?")
    settings = SimSettings.from_params(Params(parameters, f"`{SIDES[side]}=sim:{text}`"))
    return SimSource(Path(picture) if picture else None, side, settings, most=most)
