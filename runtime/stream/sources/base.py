"""What every source of frames has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ufafuse.runtime.arrays import Array
    from ufafuse.runtime.stream.messages import Frame


class SourceLost(Exception):  # noqa: N818 - a state of the world, not a defect
    """The source went away; it is opened again after a pause. The text says what happened."""


class BrokenFrame(Exception):  # noqa: N818 - likewise
    """One frame came damaged; the next may be whole."""


class EndOfSource(Exception):  # noqa: N818 - likewise
    """A recording, or a source with a set number of frames, has no more; its text, if any, says how it ended."""


class Source(ABC):
    """A camera, a file, a stream: anything that gives frames one after the other.

    A source is used by one thread at a time (but for `interrupt`). It counts its frames itself and goes on counting when it is
    opened again. Whatever it raises is its own trouble: it is told, and the source is opened again after a pause; only a
    recording (neither ``live`` nor ``numbered``), which would begin anew, ends.

    Attributes:
        name: What reports call it.
        live: Frames come when they come and are lost if nobody takes them. False: a recording, read as fast as wanted.
        numbered: `Frame.index` says which frames belong together (numbered files); `Frame.timestamp` need not.
        size: Height and width of the frames, where that is known once the source is open.
        clock: What `Frame.timestamp` is, where no other kind of source has it; empty: moments that all share.
        remark: What results will not have of the frame read last, or is wrong with it; told once. Empty: nothing.
    """

    name: str = ""
    live: bool = True
    numbered: bool = False
    size: tuple[int, int] | None = None
    clock: str = ""
    remark: str = ""

    def begin(self, epoch: float) -> None:
        """Called once, before the first `read`, with the run's first moment (`time.monotonic`), the same for all."""

    @abstractmethod
    def open(self) -> None:
        """Make ready to read; called again after `close` when the source was lost.

        Raises:
            SourceLost: It cannot be reached now.
            InputError: It can never work (no such file, a size that the camera does not have).
        """

    @abstractmethod
    def read(self, timeout: float) -> Frame | None:
        """The next frame, or None when there was none within about ``timeout`` seconds.

        Raises:
            BrokenFrame, SourceLost, EndOfSource: As their names say.
        """

    def reads(self, path: Path) -> bool:  # noqa: ARG002 - nothing, where the source is no file
        """Whether a result that is written to ``path`` would replace what is read here, or be read as a frame."""
        return False

    def example(self) -> Array | None:
        """An array of the dtype and channels of its frames, where they are known before it is opened."""
        return None

    def interrupt(self) -> None:
        """Called from any thread when the run ends: make an `open` or `read` under way return soon, where that can be done."""

    def close(self) -> None:
        """Let go of the device or file; may be called twice."""
