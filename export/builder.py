"""The TensorRT builder: every call into ``tensorrt`` and ``tensorrt_rtx``, and all in which their releases differ.

======================  =======================  =====================  ==================================
what                    tensorrt 10.3 to 10.16   tensorrt 11            tensorrt_rtx 1.4 and later
======================  =======================  =====================  ==================================
strong typing           flag STRONGLY_TYPED      always; flag accepted  always; flag accepted
half, int8              types of the ONNX        types of the ONNX      types of the ONNX
                        (flags exist, unused)    (flags are gone)       (flags never were)
TF32 for float32        by default; cleared      by default; cleared    by default; cleared
builds without a GPU    no: Builder() fails      no: Builder() fails    yes
GPU it builds for       this machine's           this machine's         set_compute_capability; by default
                                                                        Ampere and newer
timing cache            yes                      yes                    no effect, and forces a GPU
VERSION_COMPATIBLE      yes                      yes                    fails: it ships no lean runtime
hardware compatibility  AMPERE_PLUS always,      both                   through its targets
                        SAME_COMPUTE_CAPABILITY
                        from 10.9 on
======================  =======================  =====================  ==================================

Both flavours parse, profile, report progress and build by the same names, so the rest is one code path. Every call that
answers with bool or None is checked where it stands. Neither flavour notices min > opt in a profile: `Profile` does.
Sources: the bindings of releases 10.3, 10.16, 11.1 and 11.4; tensorrt_rtx 1.7 by trying.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ufafuse.export.build_options import BuildOptions
from ufafuse.export.profiles import input_shapes
from ufafuse.runtime.backends.tensorrt import vendor
from ufafuse.runtime.backends.tensorrt.vendor import FLAVORS, Vendor
from ufafuse.runtime.callbacks import ignored
from ufafuse.runtime.errors import BackendError, InputError, ModelError

_HARDWARE = {"ampere+": "AMPERE_PLUS", "same-cc": "SAME_COMPUTE_CAPABILITY"}

OnPhase = Callable[[str, int, int | None], None]


class BuildMonitor:
    """Where a build tells how far it is, and learns that it is to stop.

    Args:
        on_phase: Called with (phase, steps done, steps in all); ``None`` for the steps ends the phase. Builders call it
            from threads of their own.
    """

    def __init__(self, on_phase: OnPhase = ignored) -> None:
        self.on_phase = on_phase
        self.cancelled = threading.Event()


@dataclass(frozen=True)
class Built:
    """A finished build.

    Args:
        plan: The serialised engine.
        layers: What `layer_census` counted.
        targets: The compute capabilities that were asked for, such as ``("sm86",)``; empty for the builder's default.
        timing_cache: The serialised cache, where one was asked for.
    """

    plan: bytes
    layers: dict[str, Any]
    targets: tuple[str, ...] = ()
    timing_cache: bytes | None = None


def choose_flavor(flavor: str | None) -> str:
    """The flavour to build with: the one asked for, or the installed one (classic before RTX).

    Raises:
        BackendError: It is not installed.
    """
    for name in FLAVORS if flavor is None else (flavor,):
        if vendor.is_installed(name):
            return name
    if flavor is None:
        raise BackendError(
            "neither TensorRT nor TensorRT-RTX is installed: run `pip install 'ufafuse[gpu]'` (it builds on the GPU) or "
            "`pip install 'ufafuse[rtx]'` (it builds without one)."
        )
    raise BackendError(f"{flavor} is not installed: run `pip install 'ufafuse[{vendor.EXTRAS[flavor]}]'`.")


class TensorRt:
    """One flavour's module.

    Raises:
        BackendError: It is not installed or cannot be imported.
    """

    def __init__(self, flavor: str) -> None:
        self.flavor = choose_flavor(flavor)
        self.trt: Vendor = vendor.load(flavor)
        self.version: str = self.trt.__version__

    @property
    def is_rtx(self) -> bool:
        """Whether this is TensorRT-RTX."""
        return self.flavor == "tensorrt-rtx"

    def targets(self) -> list[str]:
        """Compute capabilities that can be asked for, such as ``["sm75", "sm80"]``; none with classic TensorRT."""
        return sorted(name.lower() for name in self.trt.ComputeCapability.__members__ if name != "NONE") if self.is_rtx else []

    def check(self, options: BuildOptions) -> None:
        """Refuse what this flavour or release cannot do. Raises: InputError, naming the option and a way out."""
        problem = self._rtx_problem(options) if self.is_rtx else self._classic_problem(options)
        if problem:
            raise InputError(f"{self.flavor} {self.version}: {problem}.")

    def _rtx_problem(self, options: BuildOptions) -> str:
        known = self.targets()
        unknown = [target for target in options.targets if target.lower() not in known]
        if unknown:
            return f"`targets={', '.join(unknown)}` is not known. It builds for {', '.join(known)}"
        if options.timing_cache is not None:
            return "`timing_cache` has no effect there. Omit it"
        if options.version_compatible:
            return "`version_compatible` needs the lean runtime, which it does not ship. Build again for each release"
        if options.hardware != "none":
            return f"`hardware={options.hardware}` is classic TensorRT's. Name the GPUs with `targets` instead"
        return ""

    def _classic_problem(self, options: BuildOptions) -> str:
        if options.targets:
            return (
                f"`targets={', '.join(options.targets)}` cannot be met: it builds for the GPU of this machine. Use "
                "`flavor=tensorrt-rtx`, or build on the device itself"
            )
        if options.hardware != "none" and not hasattr(self.trt.HardwareCompatibilityLevel, _HARDWARE[options.hardware]):
            return f"`hardware={options.hardware}` is not known to this release. Use ampere+, or update TensorRT"
        return ""

    def build(
        self, onnx: Path, options: BuildOptions, inputs: Mapping[str, Sequence[int | str]], progress: BuildMonitor
    ) -> Built:
        """Parse ``onnx`` and build a plan.

        Args:
            onnx: A verified ONNX file.
            options: Checked by `check` first.
            inputs: Its inputs' dimensions by name, see `Profile.shapes`.
            progress: Told how far it is; its ``cancelled`` ends the build.

        Raises:
            ModelError: The parser refuses the ONNX: every error with node and reason.
            BackendError: There is no usable GPU, the builder fails, or it was cancelled.
        """
        self.check(options)
        logger = vendor.recorder(self.trt)
        builder = self._builder(logger)
        network = builder.create_network(1 << int(self.trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        self._parse(onnx, network, logger)
        config = self._config(builder, options, inputs)
        config.progress_monitor = monitor = _monitor(self.trt, progress)  # kept alive by `monitor`: old bindings do not
        plan = builder.build_serialized_network(network, config)
        del monitor
        if plan is None:
            asked = "the build was cancelled" if progress.cancelled.is_set() else "the builder refused the network"
            told = logger.told()
            raise BackendError(f"{self.flavor} {self.version}: {asked}{told}.{_memory_hint(options, told)}")
        cache = bytes(config.get_timing_cache().serialize()) if options.timing_cache is not None else None
        targets = tuple(target.lower() for target in options.targets)
        return Built(bytes(plan), layer_census(self.trt, network), targets, cache)

    def _builder(self, logger: Vendor) -> Vendor:
        try:
            builder = self.trt.Builder(logger)
        except (TypeError, RuntimeError) as error:  # pybind11's words for a factory that returned nothing
            raise BackendError(
                f"{self.flavor} {self.version} finds no usable GPU here ({error}){logger.told()}. Build on the device, "
                "or use `flavor=tensorrt-rtx`, which needs none."
            ) from error
        return builder

    def _parse(self, onnx: Path, network: Vendor, logger: Vendor) -> None:
        parser = self.trt.OnnxParser(network, logger)
        if parser.parse_from_file(str(onnx)):
            return
        errors = [_parser_error(parser.get_error(index)) for index in range(parser.num_errors)]
        raise ModelError(f"{self.flavor} {self.version} cannot parse {onnx.name}: {'; '.join(errors) or logger.told()}.")

    def _config(self, builder: Vendor, options: BuildOptions, inputs: Mapping[str, Sequence[int | str]]) -> Vendor:
        config = builder.create_builder_config()
        if options.workspace_mib is not None:
            config.set_memory_pool_limit(self.trt.MemoryPoolType.WORKSPACE, options.workspace_mib << 20)
        if options.optimization_level is not None:
            config.builder_optimization_level = options.optimization_level
        # On by default, it rounds float32 products to half's ten bits on Ampere and later: no fp32 file would be one.
        config.clear_flag(self.trt.BuilderFlag.TF32)
        config.profiling_verbosity = self.trt.ProfilingVerbosity.DETAILED  # what `ufa bench --profile` says of each layer
        if options.version_compatible:
            config.set_flag(self.trt.BuilderFlag.VERSION_COMPATIBLE)
        if options.hardware != "none":
            level = getattr(self.trt.HardwareCompatibilityLevel, _HARDWARE[options.hardware])
            config.hardware_compatibility_level = level
        self._set_targets(config, options.targets)
        self._set_timing_cache(config, options.timing_cache)
        for wanted in options.profiles:
            profile = builder.create_optimization_profile()
            for name, shapes in input_shapes(wanted, inputs).items():
                profile.set_shape(name, *shapes)
            if config.add_optimization_profile(profile) < 0:
                raise BackendError(f"{self.flavor} {self.version} refuses the profile {wanted}.")
        return config

    def _set_targets(self, config: Vendor, targets: Sequence[str]) -> None:
        if not targets:
            return
        config.num_compute_capabilities = len(targets)
        for index, target in enumerate(targets):
            if not config.set_compute_capability(getattr(self.trt.ComputeCapability, target.upper()), index):
                raise BackendError(f"{self.flavor} {self.version} refuses the target {target}.")

    def _set_timing_cache(self, config: Vendor, path: Path | None) -> None:
        if path is None:
            return
        cache = config.create_timing_cache(path.read_bytes() if path.is_file() else b"")
        if cache is None or not config.set_timing_cache(cache, ignore_mismatch=False):
            raise InputError(f"{path} holds timings of another GPU or release: delete it, or name another `timing_cache`.")


def _parser_error(error: Vendor) -> str:
    """One parser error as text: which node, of which kind, and why."""
    node = error.node_name() or (f"node {error.node()}" if error.node() >= 0 else "the file")
    kind = f" ({error.node_operator()})" if error.node_operator() else ""
    return f"{node}{kind}: {error.desc().strip()}"


def _memory_hint(options: BuildOptions, told: str) -> str:
    """What to do where a layer wanted more scratch memory than it was allowed."""
    if options.workspace_mib is None or "memory" not in told.lower():
        return ""
    return f" A layer was allowed {options.workspace_mib} MiB: give a greater `workspace_mib` or smaller frames at most."


def _monitor(trt: Vendor, progress: BuildMonitor) -> Vendor:
    """The builder's progress monitor that feeds ``progress``."""

    class Monitor(trt.IProgressMonitor):
        """Called by the builder's own threads; must not raise."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:  # noqa: ARG002
            """A phase begins."""
            self.steps[phase_name] = num_steps
            progress.on_phase(phase_name, 0, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            """A step is done; answering False cancels the build."""
            progress.on_phase(phase_name, step + 1, self.steps.get(phase_name, step + 1))
            return not progress.cancelled.is_set()

        def phase_finish(self, phase_name: str) -> None:
            """A phase has ended."""
            progress.on_phase(phase_name, self.steps.pop(phase_name, 0), None)

    return Monitor()


@dataclass
class _Census:
    layers: int = 0
    convolutions: int = 0
    half: int = 0
    int8: int = 0
    float32: list[str] = field(default_factory=list)


def layer_census(trt: Vendor, network: Vendor) -> dict[str, Any]:
    """What the parsed network is made of, before the builder fuses anything: the precision that was really asked for.

    Returns:
        ``layers`` in all; ``convolutions``; how many of these are ``half`` and ``int8`` (fed by a dequantiser); the two
        shares of the convolutions, ``share_half`` and ``share_int8``; the names of those in float32.
    """
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    dequantised = {layer.get_output(0).name for layer in layers if layer.type == trt.LayerType.DEQUANTIZE}
    census = _Census(layers=len(layers))
    for layer in layers:
        if layer.type != trt.LayerType.CONVOLUTION:
            continue
        census.convolutions += 1
        if layer.get_input(0).name in dequantised:
            census.int8 += 1
        elif layer.get_output(0).dtype == trt.DataType.HALF:
            census.half += 1
        else:
            census.float32.append(layer.name)
    of = max(1, census.convolutions)
    return {
        "layers": census.layers,
        "convolutions": census.convolutions,
        "half": census.half,
        "int8": census.int8,
        "share_half": round(census.half / of, 4),
        "share_int8": round(census.int8 / of, 4),
        "float32": census.float32,
    }
