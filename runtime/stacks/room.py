"""What a stack takes beside the network, and whether all of its frames are kept or each is read once for each pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ufafuse.runtime.arrays import Array
from ufafuse.runtime.bayer import demosaiced
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.frames import FrameKind, check_frames, white_level
from ufafuse.runtime.levels import GIVEN, OF_MOSAICS, white_of_mosaics
from ufafuse.runtime.memory.budget import MB, PLANNED_SHARE
from ufafuse.runtime.memory.usage import available_bytes, resident_bytes
from ufafuse.runtime.pictures.masked import without_hidden
from ufafuse.runtime.pictures.source import FrameSource
from ufafuse.runtime.stacks.gaps import FocusGaps
from ufafuse.runtime.stacks.height import ScorePeaks
from ufafuse.runtime.stacks.model import Gathering
from ufafuse.runtime.stacks.octaves import OctaveSums
from ufafuse.runtime.stacks.options import StackOptions
from ufafuse.runtime.stacks.passing import Passing
from ufafuse.runtime.stacks.preparing import Held, Prepared, Wishes
from ufafuse.runtime.stacks.registering import Chain

if TYPE_CHECKING:
    from ufafuse.runtime.fuser import Fuser

_FRAME_COPIES = 4  # a frame as it is read, moved, looked at one ahead, and as floats of strips
_BYTES_TO_FILL = 20  # of each pixel, while what alpha hides of a frame is filled
_ENGINE_MB = 100  # for the network, of which nothing is measured yet where a stack is refused: 80 were seen
_SHARE_FOR_FEATURES = 0.3  # of that memory, beside the frames, that features may be kept in between the passes
_SHARE_FOR_FRAMES = 0.5  # of the memory that the system has left, that frames may be kept in without a budget


def prepared(fuser: Fuser, sources: list[FrameSource], options: StackOptions) -> Prepared:
    """The stack's frames, to be gone through twice: kept where there is room for them, else read again.

    Args:
        fuser, options: As `fusing.fuse_sources` has them.
        sources: The frames, in their order.

    Raises:
        InputError: The memory bound is too small for frames of this size, or a mosaic's level of white cannot be found.
    """
    first = sources[0]
    size = (first.shape[0], first.shape[1])
    channels = first.shape[2] if len(first.shape) == 3 else 0
    if options.bayer is not None:
        channels = 3
    kind = FrameKind(first.dtype, channels, white_level(first.dtype, None), options.order)
    white = options.white
    if options.bayer is not None and white is None:
        white = white_of_mosaics([source.read() for source in sources[:: max(1, len(sources) // 4)]], None)

    def load(source: FrameSource) -> Array:
        frame = source.read()
        if options.bayer is not None:
            frame = demosaiced(frame, options.bayer, order=options.order, white=white, name=source.name)
        check_frames([frame], order=options.order, white=options.white, open_ended=True, names=[source.name])
        return without_hidden(frame)

    wishes = Wishes(load, options.order, white, options.align, options.match_gain, options.reference, options.keep_unregistered)
    wishes.threads, wishes.ahead = fuser.threads, fuser.memory_limit is None
    wishes.white_from = GIVEN if white == options.white else OF_MOSAICS
    frame_bytes = size[0] * size[1] * max(1, channels) * first.dtype.itemsize
    kept = frame_bytes * len(sources)
    limit = fuser.memory_limit
    if limit is None:
        held = kept < _SHARE_FOR_FRAMES * available_bytes()
    else:
        need = state_bytes(fuser, size, kind, frame_bytes, options)
        taken = resident_bytes()
        if need + taken > limit:
            enough = (need + taken + _ENGINE_MB * MB) / PLANNED_SHARE / MB
            raise InputError(
                f"a memory of {limit / MB:.0f} MB is too little for a stack of {size[0]} x {size[1]}: "
                f"{enough:.0f} MB are needed, for any number of frames. Give more `max_memory`."
            )
        # Kept only where there is room to spare: a larger window of the frame is worth more than a second decoding.
        held = 3 * kept + 2 * need < limit * PLANNED_SHARE - taken
    return (Held if held else Passing)(list(sources), kind, size, wishes)


def state_bytes(fuser: Fuser, size: tuple[int, int], kind: FrameKind, frame_bytes: int, options: StackOptions) -> float:
    """What is held between and beside the frames, in bytes: sums, what was gathered, a few frames."""
    pixels = size[0] * size[1]
    total = float(_FRAME_COPIES * frame_bytes) + (_BYTES_TO_FILL * pixels if kind.channels == 4 else 0)
    if options.method == "pyramid":
        return total + pixels * 4.0 * (4 / 3) * 3 * (max(1, kind.channels) + 1)
    model = fuser.stack_model()
    first, second = Gathering.bytes_per_pixel(model)
    second += OctaveSums.bytes_per_pixel(kind, model.octaves)
    if options.want_height or options.want_map:
        second += ScorePeaks.BYTES_PER_PIXEL
    if options.restore > 1:
        second += FocusGaps.BYTES_PER_PIXEL
    if options.align != "off":
        total += Chain.bytes_held(size)
    return total + pixels * max(first, second)


def room_for_features(fuser: Fuser, stack: Prepared, state: float) -> float:
    """Bytes that features may be kept in between the passes; with a bound of the memory those of all frames, or none.

    Args:
        fuser: Of the network.
        stack: The frames; of those that are read for each pass no features are kept.
        state: As `state_bytes`, and the frames that are held.
    """
    if not isinstance(stack, Held):
        return 0.0
    if fuser.memory_limit is None:
        return _SHARE_FOR_FEATURES * available_bytes()
    whole = fuser.stack_model().feature_bytes(stack.size) * len(stack.sources)
    return float(whole) if 2 * (state + whole) < fuser.memory_limit * PLANNED_SHARE - resident_bytes() else 0.0
