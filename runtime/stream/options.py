"""How a pipeline behaves, and what follows from its sources."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from ufafuse.runtime.callbacks import ignored
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.stream.pairing import NearestPairing, Pairing, PlanePairing
from ufafuse.runtime.stream.pairqueue import BLOCK, DROP_OLDEST, WHEN_LATE
from ufafuse.runtime.stream.planes import sorter_for
from ufafuse.runtime.stream.reader import RetryPolicy
from ufafuse.runtime.stream.sorters import AUTO
from ufafuse.runtime.stream.sources.base import Source
from ufafuse.runtime.values import check_fields, type_in_text

PAIR_BY = (AUTO, "time", "number")
ALTERNATE_BY = ("order", "sharpness", "number")
MOST_PLANES = 100
MOST_WAITING = 1000  # pairs, or frames of one side
DEFAULT_SKEW = 0.02
_RANGES = (
    ("queue", 1, MOST_WAITING),
    ("waiting", 2, MOST_WAITING),
    ("frames", 1, math.inf),
    ("planes", 2, MOST_PLANES),
    ("settle", 0, MOST_PLANES),
)


def check_parts(near: object, far: object, fuse: object, sink: object, options: object) -> None:
    """Refuse what a pipeline is not made of (`InputError`): a text is one step away from a source or a sink."""
    for name, part, has, mend in (
        ("near", near, "read", "a `Source`, such as `source_from_text(...)` makes"),
        ("far", far, "read", "a `Source`, or None where one source alternates"),
        ("fuse", fuse, "__call__", "a function of two pictures, such as `Fuser().fuse`"),
        ("sink", sink, "write", "a `Sink`, such as `sink_from_text(...)` makes, or None"),
        ("options", options, "pairing_for", "`PipelineOptions`"),
    ):
        if not hasattr(part, has) and not (part is None and name in ("far", "sink", "options")):
            raise InputError(f"`{name}` is {type_in_text(part)}: give {mend}.")
    if near is far:  # each frame would go to one of the sides
        raise InputError("`near` and `far` are one source: give two, or None as `far` for a camera that moves its focus.")


@dataclass(frozen=True)
class PipelineOptions:
    """How a pipeline behaves. Times are in seconds.

    Args:
        max_skew: Greatest time between the two frames of a pair. None: 0.02 for two sources, or 0.7 of the faster one's frame
            interval where that is less; any for an alternating one.
        far_offset: Added to the far source's timestamps, for cameras of which one is known to be late.
        pair_by: ``"time"``, ``"number"`` (of files), or ``"auto"``: by number where both sources are numbered.
        planes: Focus settings of one camera that moves its focus; more than two are fused as a stack.
        settle: Frames of it to pass over after each step; ``"auto"``: as many as are seen to be unsettled, and nothing is fused
            before that is known. None: none, unless some are seen to be.
        alternate_by: How its frames are told apart: ``"order"`` (with what they show, where that says something),
            ``"sharpness"``, or ``"number"``: by `Frame.index`. `Frame.plane` counts before these, but for sharpness.
        swap: Its first frame is far.
        when_late: ``"drop-oldest"``, ``"block"``, or ``"auto"``: block for recordings, drop for what is live.
        queue: Pairs that wait for the fusion, and fused pictures that wait for the sink.
        waiting: Frames a side that wait for a partner, or those of 0.06 s if that is more.
        late_after: From capture to output, beyond which a pair counts as late.
        stall_after: Seconds without a frame after which a live source is reported.
        idle: Seconds without a frame from any source after which the run ends; None: never.
        frames: Fused pairs after which the run ends; None: never.
        seconds: The run ends after this time; None: never.
        retry: How lost sources are called back.

    Raises:
        InputError: A value cannot be used; the text names it.
    """

    max_skew: float | None = None
    far_offset: float = 0.0
    pair_by: str = AUTO
    planes: int = 2
    settle: int | str | None = None
    alternate_by: str = ALTERNATE_BY[0]
    swap: bool = False
    when_late: str = AUTO
    queue: int = 2
    waiting: int = 3
    late_after: float = 0.2
    stall_after: float = 2.0
    idle: float | None = None
    frames: int | None = None
    seconds: float | None = None
    retry: RetryPolicy = field(default_factory=RetryPolicy)

    def __post_init__(self) -> None:
        check_fields(self)
        for name, options in (("pair_by", PAIR_BY), ("alternate_by", ALTERNATE_BY), ("when_late", (AUTO, *WHEN_LATE))):
            if getattr(self, name) not in options:
                raise InputError(f"`{name}={getattr(self, name)}` is not known: choose one of {', '.join(options)}.")
        if isinstance(self.settle, str) and self.settle != AUTO:
            raise InputError(f"`settle={self.settle}` is no number of frames: give one, or auto.")
        for name, least, most in _RANGES:
            value = getattr(self, name)
            if not isinstance(value, int):
                continue
            if value > most:
                raise InputError(f"`{name}={value}` is too many: give at most {most}.")
            if value < least:
                raise InputError(f"`{name}={value}` is too little: give at least {least}.")
        self._check_times()

    def _check_times(self) -> None:
        """Refuse what are no seconds (`InputError`)."""
        if not math.isfinite(self.far_offset):  # nothing would ever be paired
            raise InputError(f"`far_offset={self.far_offset}` is no time: give seconds.")
        for name in ("max_skew", "late_after", "stall_after", "idle", "seconds"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise InputError(f"`{name}={value}` is not a time: give 0 or more.")

    @property
    def most_frames(self) -> int:
        """Frames that are held at once when all queues are full, both sides read, one pair is fused and one written."""
        waiting, reading, pair = 2 * self.waiting, 2, self.planes
        return waiting + reading + pair * self.queue + (pair + 1) * self.queue + 2 * (pair + 1)

    def when_late_for(self, sources: list[Source]) -> str:
        """The policy with ``"auto"`` settled."""
        if self.when_late != AUTO:
            return self.when_late
        return DROP_OLDEST if any(source.live for source in sources) else BLOCK

    def hold_for(self, sources: list[Source]) -> int:
        """How many frames of a recording wait for a partner before its reader does; 0 where a source is live."""
        return 0 if any(source.live for source in sources) else self.waiting

    def pairing_for(self, sources: list[Source], tell: Callable[[str], None] = ignored) -> Pairing:
        """The pairing for one alternating source or for two.

        Args:
            sources: One or two.
            tell: Takes a sentence for people, from the thread that reads.

        Raises:
            InputError: Pairs by number were asked of sources that have none, or what only the other kind of source has.
        """
        if len(sources) == 1:
            if self.pair_by != AUTO or self.far_offset:
                raise InputError("`pair_by` and `far_offset` are for two sources, and `alternating` is one: omit them.")
            skew = math.inf if self.max_skew is None else self.max_skew
            source = sources[0]
            sorter = sorter_for(
                self.planes,
                self.settle,
                self.alternate_by,
                live=source.live or self.when_late == DROP_OLDEST,
                by_index=source.numbered,
                tell=tell,
            )
            return PlanePairing(self.planes, sorter, swap=self.swap, max_skew=skew)
        for name, default in (("planes", 2), ("settle", None), ("alternate_by", ALTERNATE_BY[0]), ("swap", False)):
            if getattr(self, name) != default:
                raise InputError(f"`{name}` is for one camera that moves its focus: give it as `alternating`.")
        numbered = all(source.numbered for source in sources)
        if self.pair_by == "number" and not numbered:
            raise InputError("`pair_by=number` needs two folders of numbered files: omit it for other sources.")
        by_number = numbered and self.pair_by != "time"
        if by_number and (self.max_skew is not None or self.far_offset):
            name = "far_offset" if self.max_skew is None else "max_skew"
            raise InputError(
                f"`{name}` is about times, and {sources[0].name} and {sources[1].name} are paired by the numbers in their "
                "files' names: omit it, or take `pair_by=time`."
            )
        exact = not any(source.live for source in sources)
        clocks = [source.clock for source in sources if source.clock]
        if len(set(clocks)) > 1 and not self.far_offset:
            near, far = (f"{source.name} has {source.clock}" for source in sources)
            raise InputError(
                f"{near} and {far}, so nothing says which frames belong together: give two folders or two videos, or say with "
                "`far_offset` how far the two lie apart."
            )
        if by_number:
            return NearestPairing(0, by_number=True, exact=exact, waiting=self.waiting)
        skew = DEFAULT_SKEW if self.max_skew is None else self.max_skew
        adaptive = self.max_skew is None
        return NearestPairing(skew, adaptive=adaptive, far_offset=self.far_offset, exact=exact, waiting=self.waiting)
