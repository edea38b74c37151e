"""What this machine has no memory for, refused before any of it is taken: asked for more, the system would end the process."""

from ufafuse.runtime.errors import InputError
from ufafuse.runtime.memory.usage import available_bytes

SHARE = 0.8  # of the memory that is left: what may be taken


def check_room(asked: str, what: str, need: float) -> None:
    """Refuse an option for which there is not enough memory.

    Args:
        asked: The option as it was given, such as ``"size=520x520"``.
        what: What takes the memory, in words.
        need: Bytes, at least.

    Raises:
        InputError: It says how much they would take, and how much is left.
    """
    left = available_bytes() * SHARE
    if need > left:
        raise InputError(
            f"`{asked}` is too large: {what} takes {in_gb(need)} at least, and {in_gb(left)} of memory may be taken here: "
            "give a smaller one."
        )


def in_gb(count: float) -> str:
    """An amount of memory as errors have it."""
    return f"{count / 1e9:,.1f} GB"
