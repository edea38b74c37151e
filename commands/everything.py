"""`ufa export --all`: from weights to a folder with every artefact this machine can make, and a table of them."""

import functools
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ufafuse.calibration.calibrate import int8_from_onnx
from ufafuse.calibration.options import CalibrationOptions
from ufafuse.commands.otherformats import ENGINE, check_in_the_way, check_names, format_rows
from ufafuse.export.build_options import BuildOptions
from ufafuse.export.builder import TensorRt
from ufafuse.export.engine import engine_from_onnx
from ufafuse.export.formats.known import FORMATS
from ufafuse.export.formats.opening import open_artefact
from ufafuse.export.kept_cases import KeptCases
from ufafuse.export.onnx_export import onnx_from_weights, report_path
from ufafuse.export.overview import TIMED_RUNS, ArtefactRow, write_report
from ufafuse.export.profiles import Profile
from ufafuse.export.timing import timed
from ufafuse.export.verify import (
    REFERENCE_SIZES,
    check_read,
    check_references,
    load_pairs,
    pack_reference,
    packed_pairs,
    reference_cases,
)
from ufafuse.network.spec import RivalSpec, Spec
from ufafuse.network.weights import load_weights
from ufafuse.runtime.artefact import manifest_path, read_manifest, sha256_of
from ufafuse.runtime.backends.tensorrt import vendor
from ufafuse.runtime.callbacks import ignored
from ufafuse.runtime.checks.cases import Case, load_reference, run_case, verify_cases
from ufafuse.runtime.errors import BackendError, CheckFailed, ModelError, OutputError
from ufafuse.runtime.parameters import Size
from ufafuse.runtime.session import SessionOptions, installed
from ufafuse.runtime.writing import check_folder, make_folder, read_json

RTX_TARGETS = ("sm75", "sm86", "sm89")  # the paper's own GTX 20 class, and the two after it
_VARIANTS = (("", "fp32", "float"), ("-uint8", "fp32", "uint8"), ("-fp16", "fp16", "float"), ("-fp16-uint8", "fp16", "uint8"))
_OWN_RUNTIME = frozenset(each.name for each in FORMATS if each.kind != "onnx")
_CPU_BACKENDS = ("onnxruntime", "openvino")


def export_all(
    weights: Path,
    folder: Path,
    *,
    pairs: Path | None = None,
    size: Size = (256, 256),
    max_pairs: int = 4,
    formats: Sequence[str] = (),
    force: bool = False,
    on_step: Callable[[str], None] = ignored,
    done: Callable[[str], None] = ignored,
) -> dict[str, Any]:
    """Make and check everything that can be made here.

    What a run before this one made of the same weights, whole and checked, is kept: a run that was cut off goes on.

    Args:
        weights: A ``.safetensors`` file; the artefacts are named after its network.
        folder: Where they go; made if missing.
        pairs: Real pairs to check (and to calibrate) with; None: synthetic ones.
        size: (height, width) of the frames that are checked and timed, and of the engines' one profile.
        max_pairs: How many pairs each artefact is checked on.
        formats: Those to make, of `ufafuse.commands.otherformats.EVERY`; none named: all that can be made here.
        force: Replace what is there, instead of keeping it.
        on_step: Told what is begun.
        done: Told after each artefact.

    Returns:
        ``ok``, ``artefact`` (the folder), ``report``, ``precision`` (``"all"``), ``verified``, ``machine``, ``tools``,
        ``rows``, ``left_out`` (what could not be made, and why), ``warnings`` (of the pairs' files, where there are any). The
        same is written to ``report.json`` and, as a table, to ``report.md``.

    Raises:
        InputError, ModelError, OutputError: As the single steps; files of other weights lie in the folder, without ``force``.
        CheckFailed: An artefact misses its tolerance; the reports are written all the same.
    """
    names = check_names(formats)
    check_folder(folder)
    net = load_weights(weights)
    check_references("size", [size], net.spec)
    if pairs is not None:
        check_read(load_pairs(pairs, sizes=[size], max_pairs=max_pairs))
        check_read(packed_pairs(pairs, REFERENCE_SIZES))
    if not force:
        check_in_the_way(weights, net.spec, folder, names)
    make_folder(folder)
    left_out: list[str] = []
    told: dict[str, Any] = {"force": force, "on_step": on_step, "done": done}
    read: dict[str, None] = {}
    rows: list[ArtefactRow] = []
    if {"onnx", ENGINE} & set(names):  # engines are built from ONNX
        rows += _exported(weights, net.spec, folder, left_out, **told)
        rows += _calibrated(rows[0].artefact, pairs, left_out, **told)
        reference = folder / f"{net.spec.name}.reference.npz"
        if force or not _packed_before(reference, weights):
            pack_reference(weights, reference, pairs=pairs, force=force, told=read)
    made_of = list(rows)
    rows += format_rows(weights, net.spec, folder, names, size, left_out, **told)
    on_step("PyTorch")
    cases = KeptCases(reference_cases(net, load_pairs(pairs, sizes=[size], max_pairs=max_pairs, told=read), noise=True))
    for row in rows:
        on_step(f"checking {row.artefact.name}")
        _check_on_cpu(row, weights, cases, left_out)
    if ENGINE in names:
        rows += _engines(made_of, size, left_out, **told)
    report = write_report(folder, weights, rows, left_out, size, warnings=list(read))
    if not report["ok"]:
        raise CheckFailed(f"{', '.join(report['verified']['failed'])} missed the tolerance: see {folder / 'report.md'}.")
    return report


def _packed_before(reference: Path, weights: Path) -> bool:
    return reference.is_file() and load_reference(reference)[0]["weights_sha256"] == sha256_of(weights)


def _of_before(out: Path, report: Path, **facts: object) -> tuple[bool, bool]:
    """Whether a file is there that has these facts in its manifest, and whether it is whole: its report and companions too."""
    if not out.is_file():
        return False, False
    try:
        manifest = read_manifest(out)
    except ModelError:
        return False, False
    known = {**manifest.extra, "precision": manifest.precision, "io": manifest.io, "weights_sha256": manifest.weights_sha256}
    if any(known.get(key) != value for key, value in facts.items()) or not report.is_file():
        return all(known.get(key) == value for key, value in facts.items()), False
    files = read_json(report).get("files", {})
    return True, all(out.with_name(name).is_file() for name in files)


def _exported(
    weights: Path,
    spec: Spec,
    folder: Path,
    left_out: list[str],
    *,
    force: bool,
    on_step: Callable[[str], None],
    done: Callable[[str], None],
) -> Iterator[ArtefactRow]:
    """The ONNX files in every precision and io layout; the first, which all need, is the fp32 one with its companions."""
    for suffix, precision, io in _VARIANTS:
        out = folder / f"{spec.name}{suffix}.onnx"
        tiles = spec.channel and suffix == "" and not isinstance(spec, RivalSpec)
        asked = [f"--precision {precision}"] if precision != "fp32" else []
        row = functools.partial(
            ArtefactRow, out, precision, io, argument=" ".join([*asked, *(["--io uint8"] if io == "uint8" else [])])
        )
        ours, whole = _of_before(out, report_path(out), precision=precision, io=io, weights_sha256=sha256_of(weights))
        if whole and not force:
            yield row(kept=True)
            continue
        on_step(f"making {out.name}")
        try:
            onnx_from_weights(weights, out, precision=precision, io=io, tiles=tiles, force=force or ours)
        except (CheckFailed, ModelError, OutputError) as error:  # also where another file of that name is in the way
            if suffix == "":
                raise
            left_out.append(f"{out.name}: {error}")
            continue
        yield row(kept=False)
        done(out.name)


def _calibrated(
    source: Path,
    pairs: Path | None,
    left_out: list[str],
    *,
    force: bool,
    on_step: Callable[[str], None],
    done: Callable[[str], None],
) -> Iterator[ArtefactRow]:
    """The int8 file, which is made from real pairs; where it cannot be made this is noted."""
    out = source.with_name(f"{source.stem}-int8.onnx")
    if pairs is None:
        left_out.append(f"{out.name}: it is made from real pairs (add --pairs DIR)")
        return
    ours, whole = _of_before(out, report_path(out), precision="int8", source_sha256=sha256_of(source))
    if whole and not force:
        yield ArtefactRow(out, "int8", read_manifest(out).io, argument="ufa calibrate", kept=True)
        return
    on_step(f"making {out.name}")
    try:
        int8_from_onnx(source, out, CalibrationOptions(pairs), force=force or ours)
    except (CheckFailed, ModelError, OutputError) as error:  # also of a network that has no int8
        left_out.append(f"{out.name}: {error}")
        return
    manifest = read_manifest(out)
    yield ArtefactRow(out, manifest.precision, manifest.io, argument="ufa calibrate")
    done(out.name)


def _check_on_cpu(row: ArtefactRow, weights: Path, cases: Sequence[Case], left_out: list[str]) -> None:
    """Parity and time of a file on each CPU engine for its kind that is installed."""
    if row.format in _OWN_RUNTIME and row.note:  # why it is not run here
        return
    for backend in ("auto",) if row.format in _OWN_RUNTIME else _CPU_BACKENDS:
        if backend != "auto" and not installed(backend):
            left_out.append(f"{row.artefact.name} on {backend}: not installed (pip install 'ufafuse[cpu]')")
            continue
        # fp16 on OpenVINO's CPU plugin is computed in float32 (or bf16): it would say nothing about half precision.
        if backend == "openvino" and row.precision == "fp16":
            continue
        # OpenVINO's own files are judged as files; how fast bf16 is on this CPU the ONNX file's row tells.
        precision = "fp32" if row.format == "openvino" else None
        with open_artefact(row.artefact, backend=backend, options=SessionOptions(precision=precision)) as session:
            report = verify_cases(session, cases, artefact=row.artefact, reference=weights).report
            ms = _median_ms(lambda: run_case(session, cases[0]))
        row.checks[session.backend] = {
            "ok": report["ok"],
            "precision": report["precision"],
            "worst_psnr": round(report["worst"]["psnr"], 2),
            "max_abs": max(pair["max_abs"] for pair in report["pairs"]),
            "ms": ms,
        }


def _median_ms(run: Callable[[], object]) -> float:
    """Median time of a few runs; the checks before it have warmed the engine."""
    return round(statistics.median(timed(run) for _ in range(TIMED_RUNS)), 2)


def _engines(
    rows: Iterable[ArtefactRow],
    size: Size,
    left_out: list[str],
    *,
    force: bool,
    on_step: Callable[[str], None],
    done: Callable[[str], None],
) -> list[ArtefactRow]:
    """An engine from each ONNX file, of each flavour that builds here."""
    engines: list[ArtefactRow] = []
    for flavor, extra in vendor.EXTRAS.items():
        if not vendor.is_installed(flavor):
            left_out.append(f"{flavor} engines: not installed (pip install 'ufafuse[{extra}]')")
            continue
        targets = tuple(target for target in RTX_TARGETS if target in TensorRt(flavor).targets())
        options = BuildOptions((Profile.static(size),), flavor=flavor, targets=targets)
        for row in rows:
            out = row.artefact.with_name(f"{row.artefact.stem}.{extra}.engine")
            facts: dict[str, object] = {"onnx_sha256": sha256_of(row.artefact), "profiles": options.to_dict()["profiles"]}
            ours, whole = _of_before(out, manifest_path(out), **facts)
            if whole and not force:
                engines.append(_engine_row(out, row, read_manifest(out).extra, kept=True))
                continue
            on_step(f"building {out.name}")
            try:
                report = engine_from_onnx(row.artefact, out, options, force=force or ours)
            except (BackendError, ModelError, OutputError) as error:
                left_out.append(f"{out.name}: {error}")
                continue
            engines.append(_engine_row(out, row, report))
            done(out.name)
    return engines


def _engine_row(out: Path, source: ArtefactRow, facts: Mapping[str, Any], *, kept: bool = False) -> ArtefactRow:
    share = facts["layers"]
    note = f"{share['half']} of {share['convolutions']} convolutions in half, {share['int8']} in int8; not run here"
    targets = ", ".join(facts["compute_capability"])
    runs_on = f"NVIDIA GPUs: {targets}"
    return ArtefactRow(
        out, source.precision, source.io, targets, format=ENGINE, argument="ufa build", runs_on=runs_on, note=note, kept=kept
    )
