"""What of a plan cannot be timed here, told before minutes of measuring: without loading anything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ufafuse.benchmarks.speed.on_device import check_device
from ufafuse.benchmarks.speed.runners import CLASSICAL, OURS, RunnerSpec
from ufafuse.export.formats.opening import OF_TORCH, check_elsewhere
from ufafuse.runtime.artefact import read_manifest
from ufafuse.runtime.errors import BackendError, InputError, UfaError
from ufafuse.runtime.fixed import check_batch, check_size
from ufafuse.runtime.kinds import kind_of
from ufafuse.runtime.memory.room import check_room
from ufafuse.runtime.session import SessionOptions, choose_backend, engine_of

_TO_DRAW, _TO_FUSE = 48, 9  # bytes a pixel, of a pair: in `inputs.pictures`; two frames and what comes of them, at least


def hindrances(specs: Iterable[RunnerSpec], sizes: Sequence[tuple[int, int]]) -> dict[RunnerSpec, str]:
    """Why runners cannot be timed here at any of these sizes, of those of whom that can be told without loading them."""
    reasons = {spec: _hindrance(spec, sizes) for spec in specs}
    return {spec: reason for spec, reason in reasons.items() if reason}


def check_asked(asked: Iterable[tuple[str, list[RunnerSpec]]], reasons: Mapping[RunnerSpec, str]) -> None:
    """Refuse an option none of whose values can be measured here.

    Args:
        asked: Options as they were given, each with what would be measured for it.
        reasons: From `hindrances`.

    Raises:
        BackendError: Naming the option, and the reason of each engine.
    """
    for option, of_it in asked:
        if not of_it:
            raise BackendError(f"`{option}` changes nothing of what would be measured: omit it, or give `backend=onnxruntime`.")
        if all(spec in reasons for spec in of_it):
            told = {(spec.kind, spec.backend): reasons[spec] for spec in reversed(of_it)}  # the first one of each engine
            why = "; ".join(dict.fromkeys(text.removesuffix(".") for text in reversed(told.values())))
            raise BackendError(f"nothing of `{option}` can be measured here: {why}.")


def check_frames(sizes: Iterable[tuple[int, int]], batch: int) -> None:
    """Refuse frames that this machine has no memory to draw, as far as can be told before any engine is asked.

    Raises:
        InputError: It says how much they would take, and how much is left.
    """
    whose = "a pair" if batch == 1 else f"a batch of {batch} pairs"
    for height, width in sizes:
        need = height * width * max(_TO_DRAW, _TO_FUSE * batch)
        check_room(f"size={height}x{width}", f"{whose} of that size", need)


def check_fixed(spec: RunnerSpec, size: tuple[int, int]) -> None:
    """Refuse a size or a batch that the file does not take. Raises: InputError."""
    if spec.group == CLASSICAL:
        return
    path = Path(spec.artefact)
    manifest = read_manifest(path)
    check_size(path, manifest, size)
    if manifest.role == "whole":
        check_batch(path, manifest, spec.batch)


def _hindrance(spec: RunnerSpec, sizes: Sequence[tuple[int, int]]) -> str:
    try:
        if spec.group == OURS:
            _check_session(spec, Path(spec.artefact))
        elif spec.device is not None:
            check_device(spec.kind, spec.device)
    except UfaError as error:
        return str(error)
    unfit = [_unfit(spec, size) for size in sizes]
    return unfit[0] if all(unfit) else ""


def _unfit(spec: RunnerSpec, size: tuple[int, int]) -> str:
    try:
        check_fixed(spec, size)
    except InputError as error:
        return str(error)
    return ""


def _check_session(spec: RunnerSpec, path: Path) -> None:
    kind = kind_of(path)
    if kind is None:
        return
    manifest, options = read_manifest(path), SessionOptions(precision=spec.precision, provider=spec.provider)
    if kind.name in OF_TORCH:
        check_elsewhere(path, manifest, backend=spec.backend, options=options)
        return
    backend, _ = choose_backend(path, spec.backend)
    engine_of(backend).check(path, manifest, options)
