"""Which arithmetic to take where none was asked for: one rule for pairs, stacks and streams."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ufafuse.runtime.errors import InputError
from ufafuse.runtime.machine import adds_bytes_in_16_bits, multiplies_bytes
from ufafuse.runtime.models import DEFAULT, has_int8, model_path
from ufafuse.runtime.session import check_precision, choose_backend

if TYPE_CHECKING:
    from pathlib import Path

PREFERENCES = ("quality", "speed")
# 7 % of the work of its int8 file are int8: on two Zen 3 cores it took 0.98 to 1.0 of the time of fp32, for 5 dB less.
_NO_GAIN_BY_AVX2 = ("ufa",)


class PrecisionChoice(NamedTuple):
    """A precision to ask of the engine.

    Args:
        precision: One of `ufafuse.runtime.session.PRECISIONS`; None leaves the float arithmetic to the engine.
        why: The reason in a few words; empty where the engine gives its own.
        faster: With ``"quality"``: whether ``"speed"`` would have taken int8.
    """

    precision: str | None
    why: str = ""
    faster: bool = False


def preferred_precision(
    model: str | Path | None, *, backend: str = "auto", asked: str | None = None, prefer: str = "quality"
) -> PrecisionChoice:
    """The precision that was asked for; else what the preference and this machine make of it.

    ``"quality"`` leaves the choice to the engine, which takes the fastest float arithmetic of the CPU. ``"speed"`` takes int8
    where the bundled network has such a file and gains by it on this machine: int8 files are only bundled within 45 dB of the
    float ones, and are made for OpenVINO (and TensorRT): ONNX Runtime is slower with them than with float ones.

    Args:
        model: As `Fuser` takes it.
        backend: One of `ufafuse.runtime.session.BACKENDS`.
        asked: One of `ufafuse.runtime.session.PRECISIONS`, or None.
        prefer: One of `PREFERENCES`.

    Raises:
        InputError: The preference, or the precision, is not known.
    """
    if prefer not in PREFERENCES:
        raise InputError(f"`prefer={prefer}` is not known: choose {' or '.join(PREFERENCES)}.")
    if asked is not None:
        check_precision(asked)
        return PrecisionChoice(asked, f"{asked} asked for")
    against = _against_int8(model, backend)
    if prefer == "quality":
        return PrecisionChoice(None, faster=not against)
    return (
        PrecisionChoice(None, f"speed preferred, but {against}")
        if against
        else PrecisionChoice("int8", "speed preferred, int8 gains here")
    )


def _against_int8(model: str | Path | None, backend: str) -> str:
    """Why int8 would gain nothing; empty where it does."""
    if not has_int8(model):
        return "the model has no int8 file bundled"
    if not multiplies_bytes():
        return "this CPU gains nothing by int8"
    if (DEFAULT if model is None else model) in _NO_GAIN_BY_AVX2 and adds_bytes_in_16_bits():
        return f"{model} gains nothing by int8 on this CPU"
    chosen, _ = choose_backend(model_path(model), backend)
    return "" if chosen == "openvino" else f"{chosen} gains nothing by int8"
