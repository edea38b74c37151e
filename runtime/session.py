"""One contract for every inference engine, and the choice among them."""

from __future__ import annotations

import importlib
import importlib.util
import math
import platform
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from ufafuse.runtime.artefact import Manifest, check_files, check_graph, read_manifest
from ufafuse.runtime.callbacks import ignored
from ufafuse.runtime.cores import quota_bound
from ufafuse.runtime.errors import BackendError, InputError, ModelError
from ufafuse.runtime.kinds import kind_of
from ufafuse.runtime.values import check_fields, check_some, check_value, is_path, type_in_text

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from types import TracebackType

    from numpy.typing import NDArray

    from ufafuse.runtime.layers import Layer

BACKENDS = ("auto", "tensorrt", "onnxruntime", "openvino", "ncnn", "mnn", "litert")
PRECISIONS = ("fp32", "bf16", "fp16", "int8")
_MODULES = {
    "openvino": ("openvino",),
    "onnxruntime": ("onnxruntime",),
    "tensorrt": ("tensorrt", "tensorrt_rtx"),
    "ncnn": ("ncnn",),
    "mnn": ("MNN",),
    "litert": ("ai_edge_litert",),
}
_CLASSES = {
    "openvino": ("openvino", "OpenVinoSession"),
    "onnxruntime": ("onnxruntime", "OnnxRuntimeSession"),
    "tensorrt": ("tensorrt.session", "TensorRtSession"),
    "ncnn": ("ncnn", "NcnnSession"),
    "mnn": ("mnn", "MnnSession"),
    "litert": ("litert", "LiteRtSession"),
}
MEND = {
    "openvino": "`pip install 'ufafuse[cpu]'`",
    "onnxruntime": "`pip install 'ufafuse[cpu]'`",
    "tensorrt": "`pip install 'ufafuse[gpu]'` (for a TensorRT-RTX engine 'ufafuse[rtx]')",
    "ncnn": "`pip install ncnn`",
    "mnn": "`pip install MNN`",
    "litert": "`pip install ai-edge-litert`",
}


IN_NATIVE_ORDER = "give `array.astype(array.dtype.newbyteorder('='))`"


class Fused(NamedTuple):
    """What a session gives for one pair."""

    fused: NDArray[Any]
    map: NDArray[Any] | None


@dataclass(frozen=True)
class SessionOptions:
    """What a user may ask of an engine; ``None`` leaves the choice to it.

    Args:
        precision: The arithmetic: one of `PRECISIONS`. A backend refuses what the machine or the file does not have.
        threads: CPU threads; ``None`` under a CPU quota: as many as make use of it.
        provider: ONNX Runtime's execution provider: ``"cpu"``, ``"cuda"`` or ``"tensorrt"``.
        pin: Bind threads to cores, where the engine can.
        streams: Runs at once that the engine is made ready for, which share the threads; ``None``: one, until several threads
            are seen to run the session at once.
        cache: Take compiled networks from, and keep them in, ``$UFAFUSE_CACHE`` (``~/.cache/ufafuse``), where the engine can.
        lean: Give memory back after each run, where the engine would keep it for the next: under a memory budget.
        carry: Give and take what passes between the graphs for stacks (see `is_carried`) as ``Session.carries`` says.
    """

    precision: str | None = None
    threads: int | None = None
    provider: str = "cpu"
    pin: bool = False
    lean: bool = False
    streams: int | None = None
    cache: bool = True
    carry: bool = False

    def __post_init__(self) -> None:
        """Refuse what is of another type (`InputError`)."""
        check_fields(self)


class Session(ABC):
    """A loaded model. Safe to use from several threads.

    Layouts, by ``manifest.io``:
        float: near, far and fused are float32, N x 3 x H x W, RGB, [0, 1].
        uint8: near, far and fused are uint8, N x H x W x 3, BGR.
    A session of a float model that ``takes_byte_planes`` takes uint8 pictures too, N x 3 x H x W, RGB, all or none: fused is
    then like them, rounded to the nearest level. A quarter of the bytes go in and out.
    The map is float32, N x 1 x H x W, [0, 1]: the weight of the near frame.

    Attributes:
        backend: One of `BACKENDS`.
        precision: The arithmetic in use, such as ``"fp32"`` or ``"int8+fp32"``.
        why: The reasons for this engine and this arithmetic in a few words.
        manifest: The model's.
        takes_byte_planes: See above.
        carries: The dtype of what passes between the graphs for stacks: "float32"; or "uint16", the bits of bfloat16 numbers
            (`ufafuse.runtime.bfloat16`), where that was asked for and the engine computes in them.
        on_device: What a frame takes lies in a GPU's memory and not in this process's.
        last_timing: Milliseconds of the last frame by part (``h2d_ms``, ``compute_ms``, ``d2h_ms``), where the engine tells.
    """

    backend: str
    precision: str
    why: str
    manifest: Manifest
    takes_byte_planes: bool = False
    carries: str = "float32"
    on_device: bool = False
    last_timing: Mapping[str, float] = MappingProxyType({})

    @abstractmethod
    def __init__(self, model: Path, manifest: Manifest, options: SessionOptions, why: str) -> None:
        """Load ``model``; ``why`` is the reason for this engine, which it may extend by the arithmetic's."""

    @classmethod
    def check(cls, model: Path, manifest: Manifest, options: SessionOptions) -> None:
        """Refuse at once, before anything is loaded, what can be told not to run here. Raises: BackendError, InputError."""

    def run(self, near: NDArray[Any], far: NDArray[Any]) -> NDArray[Any]:
        """Fuse one batch of pairs."""
        return self.run_with_map(near, far).fused

    def run_with_map(self, near: NDArray[Any], far: NDArray[Any]) -> Fused:
        """Fuse one batch of pairs and say which frame won, pixel by pixel."""
        outputs = self.infer({"near": near, "far": far})
        return Fused(outputs["fused"], outputs.get("map"))

    @abstractmethod
    def infer(self, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run the graph on arrays by tensor name; all its outputs by name.

        Raises:
            BackendError: The engine failed (it says why), or a shape is outside what the model was built for.
        """

    def prepare(self, size: tuple[int, int], *, want_map: bool = False, floats: bool = False) -> None:
        """Do now what the first 8-bit colour pair of this (height, width) would wait for, where the engine has such work.

        Args:
            size: Height and width.
            want_map: The map will be asked for.
            floats: It is no such pair, and comes as float32.

        Raises:
            BackendError: The engine failed.
        """

    def prepared(
        self,
        size: tuple[int, int],  # noqa: ARG002 - as `prepare`
        *,
        want_map: bool = False,  # noqa: ARG002
        floats: bool = False,  # noqa: ARG002
    ) -> bool:
        """Whether `prepare` would have nothing to do: the engine has no such work, or it is done."""
        return True

    def prepare_inputs(self, inputs: Mapping[str, tuple[tuple[int, ...], str]]) -> None:
        """Do now what the first run with inputs of these shapes and dtypes would wait for, where the engine has such work.

        Raises:
            BackendError: The engine failed.
        """

    def release(self) -> None:
        """Give back what memory the engine keeps for further runs, where it does: of a graph that is not run soon again."""

    def layers(
        self,
        inputs: dict[str, NDArray[Any]],  # noqa: ARG002 - these are for engines that have counters
        *,
        runs: int,  # noqa: ARG002
        only_fused: bool = False,  # noqa: ARG002
        before: Callable[[], None] = ignored,  # noqa: ARG002
    ) -> list[Layer]:
        """The time of each layer, by the engine's own counters, on a copy of the network that counts.

        Args:
            inputs: As `infer`.
            runs: How many runs are counted; one more comes first.
            only_fused: Run what `run` runs, which may leave the map out.
            before: Called before each counted run.

        Returns:
            What was executed, in its order.

        Raises:
            BackendError: The engine has no counters here, or failed.
        """
        raise BackendError(f"{self.backend} tells no time for each layer.")

    def close(self) -> None:
        """Free what the engine holds; may be called twice."""

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


_TENSORS = {
    "whole": ({"near", "far"}, {"fused"}),
    "tile": ({"near", "far"}, {"fused"}),
    "means": ({"frame", "mask"}, {"sums"}),
    "encode": ({"frame"}, {"features", "attention"}),
    "common": ({"mean", "count", "average", "greatest"}, {"common", "stands_out"}),
    "score": ({"frame", "mean", "count", "stands_out", "features", "common"}, {"weights"}),
}
_A_SCALE_EACH = frozenset(("features", "attention", "average", "greatest", "common"))  # features_0, features_1, ...
_PICTURES = frozenset(("near", "far", "frame"))
_CARRIED = _A_SCALE_EACH - {"attention"}


def is_carried(tensor: str) -> bool:
    """Whether it is one of the large tensors that pass from one of the graphs for stacks to the next."""
    return tensor == "stands_out" or tensor.rpartition("_")[0] in _CARRIED


def check_tensors(model: Path, manifest: Manifest, inputs: Iterable[str], outputs: Iterable[str]) -> None:
    """Refuse a graph that lacks what is given to it, or asked of it, by its role. Raises: ModelError."""
    scales = range(len(manifest.extra.get("widths", [0])))
    wanted_in, wanted_out = (
        {name for stem in stems for name in ([f"{stem}_{scale}" for scale in scales] if stem in _A_SCALE_EACH else [stem])}
        for stems in _TENSORS[manifest.role]
    )
    for what, missing in (("input", wanted_in - set(inputs)), ("output", wanted_out - set(outputs))):
        if missing:
            raise ModelError(f"{model} has no {what} {sorted(missing)[0]!r}, which its manifest promises: export it again.")


def check_own_precision(title: str, model: Path, manifest: Manifest, options: SessionOptions) -> None:
    """Refuse another arithmetic than the file's own, on an engine that has no other for it. Raises: BackendError."""
    if options.precision not in (None, manifest.precision):
        raise BackendError(f"{title} runs {model.name} as {manifest.precision}, not {options.precision}: export it so.")


def check_given(inputs: Mapping[str, NDArray[Any]], wanted: Collection[str], *, floats: bool = False) -> None:
    """Refuse other inputs than those that are ``wanted``, and numbers that an engine would misread.

    Args:
        inputs: By name.
        wanted: The names of all that the model has.
        floats: It takes pictures in [0, 1], and whatever is given is made float32: levels of bytes would be all white.

    Raises:
        BackendError: It says which, and how it should be.
    """
    if inputs.keys() != set(wanted):
        raise BackendError(f"the model takes {', '.join(wanted)}; {', '.join(inputs)} were given.")
    for name, array in inputs.items():
        dtype = getattr(array, "dtype", None)
        if dtype is None or not hasattr(dtype, "isnative"):  # tensors of other libraries have a dtype of another kind
            raise BackendError(f"{name} is {type_in_text(array)}: give a NumPy array.")
        if not dtype.isnative:  # engines look at the type's size alone
            raise BackendError(f"{name} is {dtype}, in another byte order than this machine's: {IN_NATIVE_ORDER}.")
        if floats and name in _PICTURES and dtype.kind != "f":
            raise BackendError(f"{name} is {dtype}, the model takes float32: give levels from 0 to 1.")


def check_fused(fused: NDArray[Any], near: NDArray[Any]) -> None:
    """Refuse a result that is not like the frames that were given, or holds no numbers.

    Raises:
        ModelError: It has another shape.
        BackendError: It holds NaN or infinity.
    """
    if fused.shape != near.shape:
        raise ModelError(f"the model gives {fused.shape} for frames of {near.shape}: it is none of ours, export it again.")
    check_finite(fused)


def check_finite(fused: NDArray[Any]) -> None:
    """Refuse a float result with NaN or infinity in it (`BackendError`)."""
    if fused.dtype.kind == "f" and not math.isfinite(float(fused.sum(dtype="float64"))):
        raise BackendError(
            "the result holds NaN or infinity; the engine computed wrong: take another precision (fp32) or backend "
            "(onnxruntime), and report it."
        )


def installed(backend: str) -> bool:
    """Whether the package behind ``backend`` can be found (it is not imported)."""
    return any(importlib.util.find_spec(module) is not None for module in _MODULES[backend])


def check_precision(precision: str) -> None:
    """Raises: InputError unless it is one of `PRECISIONS`."""
    if precision not in PRECISIONS:
        raise InputError(f"`precision={precision}` is not known: choose one of {', '.join(PRECISIONS)}.")


def choose_backend(model: Path, backend: str) -> tuple[str, str]:
    """The engine for ``model`` and the reason in a few words.

    ``auto`` takes what runs this kind of file; for ONNX, which several do, it takes OpenVINO on x86-64 and ONNX Runtime on Arm,
    each where installed, otherwise the other.

    Raises:
        InputError: The name is not one of `BACKENDS`.
        BackendError: The engine is not installed, or cannot run this kind of file; or none of the runtime's can.
    """
    if backend not in BACKENDS:
        raise InputError(f"`backend={backend}` is not known: choose one of {', '.join(BACKENDS)}.")
    kind = kind_of(model)
    if kind is not None and kind.elsewhere:
        raise BackendError(
            f"{model.name} runs {kind.elsewhere}: fuse with an .onnx file of the same network"
            f"{', and hold this one against PyTorch with `ufa verify`' if kind.name != 'coreml' else ''}."
        )
    engines = ("openvino", "onnxruntime") if kind is None else kind.engines
    if backend != "auto":
        _require(backend)
        if backend not in engines:
            others = f"choose {' or '.join(sorted(engines))}"
            mend = "omit `backend`" if len(engines) == 1 else others
            if backend == "tensorrt":
                mend = f"run `ufa build` first, or {others}"
            raise BackendError(f"{backend} cannot run {model.name}: {mend}.")
        return backend, "asked for"
    if len(engines) == 1:
        _require(engines[0])
        return engines[0], f"{'an engine file' if engines[0] == 'tensorrt' else f'a file for {engines[0]}'}"
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    order = ("openvino", "onnxruntime") if x86 else ("onnxruntime", "openvino")
    if installed(order[0]):
        return order[0], f"the faster one on {platform.machine()}"
    if installed(order[1]):
        return order[1], f"{order[0]} is not installed"
    raise BackendError("no inference engine is installed: run `pip install 'ufafuse[cpu]'` (or [gpu], [rtx]).")


def _require(backend: str) -> None:
    if not installed(backend):
        raise BackendError(f"{backend} is not installed: run {MEND[backend]}, or use `backend=auto`.")


def engine_of(backend: str) -> type[Session]:
    """The class of an engine that is installed; its module is imported for it."""
    module, name = _CLASSES[backend]
    engine: type[Session] = getattr(importlib.import_module(f"ufafuse.runtime.backends.{module}"), name)
    return engine


def open_session(model: str | Path, *, backend: str = "auto", options: SessionOptions | None = None) -> Session:
    """Load a model file.

    Args:
        model: A file with a manifest, of a kind that the runtime runs (`ufafuse.runtime.kinds.RUNNABLE`).
        backend: One of `BACKENDS`.
        options: See `SessionOptions`.

    Raises:
        InputError: The file is missing, or an option is not known.
        ModelError: The file is broken, foreign or stale.
        BackendError: The engine is missing or refuses the file, the machine or the precision.
    """
    check_value("model", model, is_path)
    model, options = Path(model), SessionOptions() if options is None else options
    if not isinstance(options, SessionOptions):
        raise InputError(f"`options` is {type_in_text(options)}: give `SessionOptions`.")
    if options.precision is not None:
        check_precision(options.precision)
    check_some("threads", options.threads)
    check_some("streams", options.streams)
    manifest = read_manifest(model)
    if manifest.kind == "weights":
        raise InputError(f"{model} holds PyTorch weights: run `ufa export --weights {model} -o X.onnx`, and fuse with X.onnx.")
    name, why = choose_backend(model, backend)
    check_files(model, manifest.extra.get("files_sha256"))
    check_graph(model, manifest)
    engine = engine_of(name)
    engine.check(model, manifest, options)
    bound = quota_bound() if options.threads is None and name != "tensorrt" else None
    if bound is not None:  # engines take all cores, and are stopped by the kernel as soon as these have used the quota up
        options, why = replace(options, threads=bound.threads), f"{why}; {bound.why}"
    return engine(model, manifest, options, why)
