"""From an exported graph and real pairs to an INT8 graph that was measured before it got its name."""

import contextlib
import itertools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ufafuse.calibration.convolutions import conv_layers
from ufafuse.calibration.costs import shares_of_work
from ufafuse.calibration.crops import PairCrop, Told
from ufafuse.calibration.equalise import equalised, measure_factors
from ufafuse.calibration.judge import GraphJudge
from ufafuse.calibration.options import CalibrationOptions
from ufafuse.calibration.quantizers import QuantizerOptions, saturation, with_quantizers
from ufafuse.calibration.ranges import Ranges, measure_ranges
from ufafuse.calibration.search import LayerChoice, fewest_kept, sensitivity, without_slow
from ufafuse.calibration.speed import SIZE, race, race_graphs
from ufafuse.calibration.stacks import Stacks
from ufafuse.calibration.table import plot
from ufafuse.export.onnx_export import Companions, report_path
from ufafuse.export.onnx_file import load_graph, stamped
from ufafuse.network.spec import RIVALS
from ufafuse.runtime.artefact import (
    METADATA_KEY,
    Manifest,
    atomic_write,
    check_graph,
    read_manifest,
    sha256_of,
    tool_versions,
    write_json,
)
from ufafuse.runtime.callbacks import OnStep, ignored
from ufafuse.runtime.errors import CheckFailed, InputError, ModelError
from ufafuse.runtime.filebytes import same_file
from ufafuse.runtime.fixed import fixed_batch, fixed_size
from ufafuse.runtime.manifest_entries import STACK_ROLES, TILE_ROLES
from ufafuse.runtime.memory.tiled import check_same_weights
from ufafuse.runtime.values import check_instance, check_value, is_path
from ufafuse.runtime.writing import check_apart, check_new, check_parent, together

if TYPE_CHECKING:
    from onnx import ModelProto


def int8_from_onnx(
    onnx: str | Path, out: str | Path, options: CalibrationOptions, *, force: bool = False, on_step: OnStep = ignored
) -> dict[str, Any]:
    """Calibrate, quantise and check a model, and its tiling companions where they lie beside it.

    Args:
        onnx: A whole-frame file of `ufa export`, fp32 or fp16.
        out: Ends in ``.onnx``. Beside it appear its report, the table of sensitivities as a picture, and the ranges.
        options: See `CalibrationOptions`.
        force: Replace existing files.
        on_step: Called with (what is done, steps done, steps in all).

    Returns:
        ``ok``, ``artefact``, ``report``, ``ranges``, ``plot``, ``files``, ``precision``, ``rest`` (of the layers that are
        not int8), ``method``, ``layers`` (a row each: ``name``, ``psnr_alone``, ``share_of_work``, ``precision``),
        ``share_int8`` (of the work), ``speed`` (``engine``, ``size``,
        ``source_ms``, ``int8_ms``, ``ratio``), ``verified`` (``ok``, ``psnr`` by engine, ``psnr_all``, ``min_psnr``,
        ``windows``; of a network that gathers also ``psnr_stacks`` by engine and ``stacks``, the frames of each),
        ``warnings`` and, where there is any, ``passed_over`` (`Told`). The report beside the file says the same.

    Raises:
        InputError, ModelError: An option or a file cannot be used.
        CheckFailed: No choice of layers keeps ``min_psnr``; nothing is left behind.
        OutputError: A file cannot be written.
    """
    check_value("onnx", onnx, is_path)
    check_value("out", out, is_path)
    check_instance("options", options, CalibrationOptions)
    onnx, out = Path(onnx), Path(out)
    manifest, model = _source(onnx, out, options, force=force)
    names = [layer.name for layer in conv_layers(model)]
    _check_names(options.keep, names)
    to_calibrate, to_judge = options.load(told := Told())
    told.warnings.update(dict.fromkeys(saturation(options.quantizers)))
    judge = GraphJudge(onnx, to_judge, threads=options.threads)
    shares = shares_of_work(model, int(manifest.extra["stride"]), manifest.io)
    stacks = _stacks(onnx, manifest, options)
    ranges = _ranges(model, manifest, options, to_calibrate, names, stacks, on_step)
    candidates = _Candidates(model, manifest, ranges, options.quantizers)
    alone, choice = _searched(names, judge, stacks, candidates, shares, options, on_step)
    goal = _goal(manifest, onnx, ranges, options, choice)
    with together() as files:
        roles, verified = _write(onnx, out, goal, ranges, choice, judge, stacks, options, force=force)
        now = {path: files.now_at(path) for path in roles}
        report = _report(out, roles, now, manifest, ranges, alone, choice, shares, options)
        report |= {**told.entries(), "speed": _speed(onnx, now[out], judge, options)}
        report["verified"] = {**verified, "psnr_all": round(choice.psnr_all, 2), "windows": len(to_judge)}
        if options.ranges is None or not same_file(Path(report["ranges"]), options.ranges):
            ranges.save(Path(report["ranges"]), force=force)
        plot(report, Path(report["plot"]), force=force)
        write_json(report_path(out), report, force=force)
    return report


class _Candidates:
    """Graphs with a choice of layers in int8, to be judged."""

    def __init__(self, model: "ModelProto", manifest: Manifest, ranges: Ranges, options: QuantizerOptions) -> None:
        self._model, self._manifest, self._ranges, self._options = equalised(model, ranges.factors), manifest, ranges, options

    def __call__(self, chosen: Collection[str]) -> "ModelProto":
        """The model with these layers in int8."""
        return self._quantised(self._model, self._manifest, chosen)

    def companion(self, chosen: Collection[str]) -> "Callable[[ModelProto, Manifest], ModelProto]":
        """What makes a companion and its manifest into one with these layers in int8."""
        return lambda model, manifest: self._quantised(equalised(model, self._ranges.factors), manifest, chosen)

    def _quantised(self, model: "ModelProto", manifest: Manifest, chosen: Collection[str]) -> "ModelProto":
        quantised = with_quantizers(model, self._ranges.layers, chosen, self._options)
        return _labelled(quantised, replace(manifest, precision="int8"))


def _stacks(onnx: Path, manifest: Manifest, options: CalibrationOptions) -> Stacks | None:
    """Stacks for a network that gathers; None for the others."""
    if not manifest.extra.get("gathers", False):
        return None
    return Stacks(onnx, manifest, side=options.crops.size, seed=options.crops.seed, threads=options.threads)


def _write(
    onnx: Path,
    out: Path,
    goal: Manifest,
    ranges: Ranges,
    choice: LayerChoice,
    judge: GraphJudge,
    stacks: Stacks | None,
    options: CalibrationOptions,
    *,
    force: bool,
) -> tuple[dict[Path, str], dict[str, Any]]:
    """Write the model and its companions, all or none: (role by file, what the finished model was measured at)."""
    roles: dict[Path, str] = {}
    by_role: dict[str, Path] = {}
    with contextlib.ExitStack() as files:
        for source, target in _with_companions(onnx, out):
            temporary = files.enter_context(atomic_write(target, force=force))
            roles[target] = read_manifest(source).role
            graph = equalised(load_graph(source), ranges.factors)
            chosen = () if roles[target] == "common" else choice.int8  # it runs once for a stack
            graph = with_quantizers(graph, ranges.layers, chosen, options.quantizers)
            label = replace(goal, extra={**goal.extra, "role": roles[target]})
            temporary.write_bytes(stamped(_labelled(graph, label)))
            by_role[roles[target]] = temporary
        verified = _verify(judge.engines, lambda engine: judge.on_engine(by_role["whole"], engine), options.min_psnr)
        if stacks is not None:
            found = _verify(judge.engines, lambda engine: stacks.on_engine(by_role, engine), options.min_psnr)
            verified |= {"psnr_stacks": found["psnr"], "stacks": [len(frames) for frames in stacks.judged]}
    return roles, verified


def _source(onnx: Path, out: Path, options: CalibrationOptions, *, force: bool) -> tuple[Manifest, Any]:
    """The file to quantise, checked. Raises: InputError, ModelError, OutputError."""
    manifest = read_manifest(onnx)
    if manifest.kind != "onnx" or manifest.precision not in ("fp32", "fp16"):
        raise InputError(f"{onnx} is {manifest.precision} {manifest.kind}: calibrate an fp32 or fp16 .onnx of `ufa export`.")
    if manifest.role != "whole":
        raise InputError(f"{onnx} is the companion of a model: calibrate that, its companions are quantised with it.")
    if manifest.variant in RIVALS:
        raise ModelError(f"{onnx} is {manifest.variant}, a network to compare with: it is measured in fp32, and has no int8.")
    if fixed_size(manifest) is not None or fixed_batch(manifest) is not None:
        raise InputError(f"{onnx} has fixed sizes: calibrate a file of free sizes, exported without `static` and `batch`.")
    if out.suffix != ".onnx":
        raise InputError(f"{out} must end in .onnx.")
    pairs = list(_with_companions(onnx, out))
    check_apart([target for _, target in pairs], [source for source, _ in pairs])
    check_parent(out)
    for path in (*(target for _, target in pairs), *_beside(out)):
        if options.ranges is None or not same_file(path, options.ranges):  # which are used again, and stay
            check_new(path, force=force)
    check_graph(onnx, manifest)
    for source, _ in pairs[1:]:
        told = read_manifest(source)
        check_same_weights(source, told, onnx, manifest)
        check_graph(source, told)
    return manifest, load_graph(onnx)


def _beside(out: Path) -> tuple[Path, Path, Path]:
    """What comes beside the model: (report, ranges, picture)."""
    return report_path(out), out.with_suffix(".ranges.json"), out.with_suffix(".sensitivity.png")


def _check_names(keep: Sequence[str], names: Sequence[str]) -> None:
    unknown = [name for name in keep if name not in names]
    if unknown:
        raise InputError(f"`keep={', '.join(unknown)}`: no such layer. The layers are {', '.join(names)}.")
    if set(names) <= set(keep):
        raise InputError("`keep` names every layer, and none is left for int8: name fewer.")


def _ranges(
    model: "ModelProto",
    manifest: Manifest,
    options: CalibrationOptions,
    crops: Sequence[PairCrop],
    names: Sequence[str],
    stacks: Stacks | None,
    on_step: OnStep,
) -> Ranges:
    if options.ranges is not None:
        ranges = Ranges.load(options.ranges, manifest)
        missing = [name for name in names if name not in ranges.layers]
        if missing:
            raise InputError(f"`ranges={options.ranges}` lacks the layers {', '.join(missing)}: omit it.")
        return ranges
    factors: dict[str, list[float]] = {}
    if options.equalise:
        on_step("comparing channels", 0, 1)
        factors = measure_factors(model, manifest.io, crops, outputs=options.quantizers.outputs)
        model = equalised(model, factors)
    counted = itertools.count(1)
    ranges = measure_ranges(
        model, manifest, crops, options.method, done=lambda: on_step("measuring ranges", next(counted), len(crops))
    )
    if stacks is None:
        return replace(ranges, factors=factors)
    on_step("measuring ranges of stacks", 0, 1)
    more = stacks.ranges(factors, options.method)
    layers = {name: seen.joined(more[name]) if name in more else seen for name, seen in ranges.layers.items()}
    return replace(ranges, factors=factors, layers=layers, crops=f"{ranges.crops} and {stacks.described}")


def _searched(
    names: Sequence[str],
    judge: GraphJudge,
    stacks: Stacks | None,
    candidate: _Candidates,
    shares: Mapping[str, float],
    options: CalibrationOptions,
    on_step: OnStep,
) -> tuple[dict[str, float], LayerChoice]:
    """The table of sensitivities, on the first engine, and the choice of layers, on all engines."""
    counted, tried = itertools.count(1), itertools.count(1)
    alone = sensitivity(
        names,
        lambda chosen: judge.worst(candidate(chosen), judge.engines[:1]),
        done=lambda name: on_step(f"sensitivity of {name}", next(counted), len(names)),
    )

    def evaluate(chosen: Collection[str]) -> float:
        on_step(f"{len(chosen)} of {len(names)} layers in int8", next(tried), 2 * len(names) + 1)
        worst = judge.worst(candidate(chosen))
        if stacks is None or worst < options.min_psnr:
            return worst
        return min(worst, stacks.worst(candidate.companion(chosen), judge.engines))

    choice = fewest_kept(names, alone, evaluate, min_psnr=options.min_psnr, keep=options.keep, shares=shares)
    if options.only_faster:

        def gain(before: Collection[str], after: Collection[str]) -> float:
            on_step(f"timing {len(after)} of {len(names)} layers in int8", 0, 1)
            graphs = {"before": candidate(before), "after": candidate(after)}
            times = race_graphs(graphs, judge.engines[-1], threads=options.threads)
            return 1 - times["after"] / times["before"]

        choice = without_slow(choice, shares, gain, evaluate, min_psnr=options.min_psnr)
    return alone, choice


def _speed(onnx: Path, out: Path, judge: GraphJudge, options: CalibrationOptions) -> dict[str, Any]:
    """The finished file's time beside its source's, on the engine that `auto` would take: the last of the judge's."""
    engine = judge.engines[-1]
    times = race({"source": onnx, "int8": out}, engine, threads=options.threads)
    rounded = {f"{name}_ms": round(ms, 2) for name, ms in times.items()}
    return {"engine": engine, "size": list(SIZE), **rounded, "ratio": round(times["int8"] / times["source"], 3)}


def _labelled(model: "ModelProto", manifest: Manifest) -> "ModelProto":
    """Put a manifest in place of the one that the source file had."""
    for entry in model.metadata_props:
        if entry.key == METADATA_KEY:
            entry.value = manifest.to_metadata()[METADATA_KEY]
    return model


def _goal(manifest: Manifest, onnx: Path, ranges: Ranges, options: CalibrationOptions, choice: LayerChoice) -> Manifest:
    return replace(
        manifest,
        precision="int8",
        tools={**manifest.tools, **tool_versions("onnxruntime")},
        extra={
            **manifest.extra,
            "rest": manifest.precision,
            "source_sha256": sha256_of(onnx),
            "ranges_sha256": ranges.sha256(),
            "method": ranges.method,
            "weight_bits": options.quantizers.weight_bits,
            "outputs_quantised": options.quantizers.outputs,
            "equalised": bool(ranges.factors),
            "kept": list(choice.kept),
        },
    )


def _with_companions(onnx: Path, out: Path) -> Iterator[tuple[Path, Path]]:
    """(source, target) of the model and of those of its companions that exist."""
    yield onnx, out
    sources, targets = Companions.of(onnx), Companions.of(out)
    for roles in (TILE_ROLES, STACK_ROLES):
        paths = [(getattr(sources, role), getattr(targets, role)) for role in roles]
        if all(source.is_file() for source, _ in paths):
            yield from paths


def _verify(engines: Sequence[str], on_engine: Callable[[str], float], min_psnr: float) -> dict[str, Any]:
    """Read finished files back and judge them on every engine. Raises: CheckFailed."""
    found = {engine: round(on_engine(engine), 2) for engine in engines}
    if min(found.values()) < min_psnr - 0.01:
        raise CheckFailed(f"the finished file reaches {found} dB, {min_psnr:g} are asked.")
    return {"ok": True, "psnr": found, "min_psnr": min_psnr}


def _report(
    out: Path,
    written: Mapping[Path, str],
    now: Mapping[Path, Path],
    manifest: Manifest,
    ranges: Ranges,
    alone: dict[str, float],
    choice: LayerChoice,
    shares: dict[str, float],
    options: CalibrationOptions,
) -> dict[str, Any]:
    rows = [
        {
            "name": name,
            "psnr_alone": round(value, 2),
            "share_of_work": round(shares[name], 4),
            "precision": "int8" if name in choice.int8 else manifest.precision,
        }
        for name, value in alone.items()
    ]
    return {
        "ok": True,
        "artefact": str(out),
        **dict(zip(("report", "ranges", "plot"), map(str, _beside(out)), strict=True)),
        "precision": "int8",
        "rest": manifest.precision,
        "io": manifest.io,
        "method": ranges.method,
        "calibrated_on": ranges.crops,
        "weight_bits": options.quantizers.weight_bits,
        "outputs_quantised": options.quantizers.outputs,
        "equalised": bool(ranges.factors),
        "files": {path.name: {"role": role, "bytes": now[path].stat().st_size} for path, role in written.items()},
        "layers": rows,
        "share_int8": round(sum(shares[name] for name in choice.int8), 4),
    }
