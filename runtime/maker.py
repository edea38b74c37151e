"""What made a result, as every report, file and console names it: a network in an engine, or the pyramid without either."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ufafuse.runtime.fuser import Fuser

PYRAMID = "pyramid"


class Maker(NamedTuple):
    """What made a result.

    Args:
        model: The network's file, or `PYRAMID`.
        precision: The arithmetic.
        backend: The engine, or the library that computed.
        why: Why these.
    """

    model: str
    precision: str
    backend: str
    why: str


def maker(fuser: Fuser, method: str) -> Maker:
    """What makes results of ``fuser`` by a method (`StackOptions.method`)."""
    if method == PYRAMID:
        return Maker(PYRAMID, "fp32", "opencv", "`method=pyramid` takes no network")
    return Maker(str(fuser.model), fuser.precision, fuser.backend, fuser.why)


def engine_text(fuser: Fuser, method: str) -> str:
    """Network and arithmetic for a result's file; the pyramid in its place."""
    return "the pyramid (no network)" if method == PYRAMID else f"{fuser.model.stem} in {fuser.precision}"
