"""From an ONNX file to a TensorRT engine with a manifest beside it."""

import hashlib
import json
import os
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ufafuse.export.build_options import BuildOptions
from ufafuse.export.builder import BuildMonitor, Built, TensorRt, choose_flavor
from ufafuse.export.onnx_file import graph_inputs
from ufafuse.runtime.artefact import (
    METADATA_KEY,
    Manifest,
    atomic_write,
    check_graph,
    manifest_path,
    read_manifest,
    sha256_of,
    tool_versions,
    write_json,
)
from ufafuse.runtime.callbacks import ignored
from ufafuse.runtime.errors import InputError, ModelError, OutputError
from ufafuse.runtime.fixed import fixed_batch, fixed_size
from ufafuse.runtime.memory.tiled import CALIBRATION
from ufafuse.runtime.texts import one_line
from ufafuse.runtime.writing import check_apart, check_new, check_parent, together

_POLL_S = 0.1
_INHERITED = (
    *("role", "stride", "halo", "strides", "widths", "global_means"),
    *("gathers", "encode_halo", "score_halo", "octaves"),
    *("data", *CALIBRATION),
)


def engine_from_onnx(
    onnx: Path,
    out: Path,
    options: BuildOptions,
    *,
    force: bool = False,
    on_phase: Callable[[str, int, int | None], None] = ignored,
) -> dict[str, Any]:
    """Build ``out`` from ``onnx``: a plain plan that trtexec loads too, and ``out.json`` with its manifest.

    Args:
        onnx: A file of `ufa export` or `ufa calibrate`; its precision becomes the engine's.
        out: Ends in ``.engine``.
        options: See `BuildOptions`.
        force: Replace an existing engine.
        on_phase: See `BuildMonitor`.

    Returns:
        The manifest's facts, with ``ok``, ``artefact``, ``report`` (the manifest's path), ``precision``, ``verified``
        (``None``: building proves nothing about results, `ufa verify` does).

    Raises:
        InputError: An option cannot be met, or a path has a wrong suffix.
        ModelError: ``onnx`` is broken, foreign or refused by the parser, or has no layer of the precision it claims.
        BackendError: No flavour is installed, no GPU where one is needed, or the builder fails.
        OutputError: ``out`` cannot be written.
        KeyboardInterrupt: The build was cancelled by Ctrl-C; nothing is left behind.
    """
    onnx, out = Path(onnx), Path(out)
    _check_paths(onnx, out, options.timing_cache, force=force)
    source = read_manifest(onnx)
    check_graph(onnx, source)
    _check_fixed(onnx, source, options)
    vendor = TensorRt(choose_flavor(options.flavor))
    vendor.check(options)
    inputs = graph_inputs(onnx)
    start = time.perf_counter()
    built = _build_interruptibly(vendor, onnx, options, inputs, on_phase)
    seconds = round(time.perf_counter() - start, 3)
    _check_precision(source, built.layers, onnx)
    manifest = _manifest(source, onnx, vendor, options, built, seconds)
    _write(out, built, manifest, options.timing_cache, force=force)
    return {
        "ok": True,
        "artefact": str(out),
        "report": str(manifest_path(out)),
        "precision": source.precision,
        "verified": None,
        "bytes": len(built.plan),
        **manifest.extra,
    }


def _check_fixed(onnx: Path, source: Manifest, options: BuildOptions) -> None:
    """Refuse profiles that a file of fixed sizes does not have. Raises: InputError."""
    size, batch = fixed_size(source), fixed_batch(source)
    for profile in options.profiles:
        if size is not None and {profile.smallest, profile.best, profile.largest} != {size}:
            raise InputError(
                f"{onnx.name} takes frames of {size[0]}x{size[1]} only, the profile is {profile}: give `statics={size[0]}x"
                f"{size[1]}`, or export the network without `static`."
            )
        if batch is not None and set(profile.batches) != {batch}:
            raise InputError(f"{onnx.name} takes {batch} pairs at once, the profile is {profile}: give `batch={batch}`.")


def _manifest(source: Manifest, onnx: Path, vendor: TensorRt, options: BuildOptions, built: Built, seconds: float) -> Manifest:
    """What lies beside the engine: the graph's own entries, and all that decides where it can run."""
    inherited = {key: source.extra[key] for key in _INHERITED if key in source.extra}
    return Manifest(
        kind="engine",
        variant=source.variant,
        precision=source.precision,
        io=source.io,
        spec=source.spec,
        weights_sha256=source.weights_sha256,
        tools={**tool_versions(), vendor.flavor: vendor.version},
        extra={
            **inherited,
            **options.to_dict(),
            "flavor": vendor.flavor,
            "version": vendor.version,
            "compute_capability": list(built.targets) or (["ampere+"] if vendor.is_rtx else ["this machine's"]),
            "onnx": one_line(onnx.name),  # an entry is printable, a file's name may be anything
            "onnx_sha256": sha256_of(onnx),
            "plan_sha256": hashlib.sha256(built.plan).hexdigest(),
            "layers": built.layers,
            "seconds": seconds,
        },
    )


def _check_paths(onnx: Path, out: Path, timing_cache: Path | None, *, force: bool) -> None:
    if onnx.suffix != ".onnx":
        raise InputError(f"{onnx} is no .onnx file: run `ufa export` first, and build from what it writes.")
    if out.suffix != ".engine":
        raise InputError(f"-o {out} must end in .engine.")
    check_apart([out, timing_cache], [onnx])
    for path in (out, manifest_path(out)):
        check_new(path, force=force)
    check_parent(out)
    if not os.access(out.parent, os.W_OK):
        raise OutputError(f"{out.parent} may not be written to: name another -o, or change its permissions.")


def _build_interruptibly(
    vendor: TensorRt,
    onnx: Path,
    options: BuildOptions,
    inputs: dict[str, list[int | str]],
    on_phase: Callable[[str, int, int | None], None],
) -> Built:
    """Build in a thread of its own, so that Ctrl-C reaches us while the builder holds its thread.

    An exception must not pass through the builder's C++ frames (it ends the process), so the interrupt becomes a flag
    that the progress monitor answers with, and goes on once the builder has let go.
    """
    progress = BuildMonitor(on_phase)
    finished = threading.Event()
    done: list[Built] = []
    failed: list[BaseException] = []

    def work() -> None:
        try:
            done.append(vendor.build(onnx, options, inputs, progress))
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread and raised there
            _let_go(error)
            failed.append(error)
        finally:
            finished.set()

    thread = threading.Thread(target=work, name="tensorrt-build", daemon=True)
    thread.start()
    # Not Thread.join: interrupted, CPython 3.11's takes the thread for ended, and the process then ends under the builder.
    try:
        while not finished.wait(_POLL_S):
            pass
    except KeyboardInterrupt:
        progress.cancelled.set()
        finished.wait()
        raise
    if failed:
        raise failed.pop()
    return done[0]


def _let_go(error: BaseException | None) -> None:
    """Free the vendor's objects that a failed build's traceback still holds, here and now.

    Left there, Python's collector frees them at a moment of its own, and that can be inside the library while it makes the
    next builder and calls our logger: it then waits for a lock that it holds itself, for ever.
    """
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def _check_precision(manifest: Manifest, layers: dict[str, Any], onnx: Path) -> None:
    """A graph that claims half or int8 and has no such layer would build into a slow engine without a word.

    The companions of an int8 model may have none of the layers that became int8.
    """
    share = {"fp16": layers["share_half"], "int8": layers["share_int8"]}.get(manifest.precision)
    companion = manifest.precision == "int8" and manifest.role != "whole"
    if share == 0 and not companion:
        raise ModelError(
            f"{onnx} says it is {manifest.precision}, but none of its {layers['convolutions']} convolutions is: "
            "export it again."
        )


def _write(out: Path, built: Built, manifest: Manifest, timing_cache: Path | None, *, force: bool) -> None:
    """The plan and its manifest, or neither."""
    with together():
        with atomic_write(out, force=force) as temporary:
            temporary.write_bytes(built.plan)
        write_json(manifest_path(out), json.loads(manifest.to_metadata()[METADATA_KEY]), force=force)
    if timing_cache is not None and built.timing_cache is not None:
        with atomic_write(timing_cache, force=True) as temporary:
            temporary.write_bytes(built.timing_cache)
