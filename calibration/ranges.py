"""The ranges of a network's activations: measured on real frames, kept in a file, used again."""

import contextlib
import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ufafuse.calibration.convolutions import ConvLayer, conv_layers
from ufafuse.calibration.crops import PairCrop
from ufafuse.calibration.quantizers import Range
from ufafuse.runtime.artefact import Manifest, write_json
from ufafuse.runtime.callbacks import ignored
from ufafuse.runtime.errors import InputError, ModelError
from ufafuse.runtime.frames import check_pair
from ufafuse.runtime.packing import pack
from ufafuse.runtime.values import check_fields

if TYPE_CHECKING:
    import onnx

Inputs = dict[str, NDArray[Any]]

RANGE_METHODS = ("minmax", "entropy", "percentile")
SCHEMA = 1
FACTORS = tuple(2**power for power in range(7))  # by which channels may be enlarged, see `ufafuse.calibration.equalise`
_LARGEST_END = float(np.finfo(np.float32).max)  # of a range


@dataclass(frozen=True)
class RangeMethod:
    """How a range is drawn from what was seen.

    Args:
        name: ``"minmax"`` (everything that occurred), ``"entropy"`` (the cut that loses least information, as TensorRT's
            old calibrator) or ``"percentile"``.
        percentile: With that method, the share in percent that lies within.
    """

    name: str = "minmax"
    percentile: float = 99.99

    def __post_init__(self) -> None:
        """Raises: InputError for an unknown method or an impossible share."""
        check_fields(self)
        if self.name not in RANGE_METHODS:
            raise InputError(f"`method={self.name}` is not known: choose one of {', '.join(RANGE_METHODS)}.")
        if not 50 < self.percentile <= 100:
            raise InputError(f"`percentile={self.percentile}` is out of range: give more than 50, at most 100.")


@dataclass(frozen=True)
class Ranges:
    """The measured ranges of every convolution of one network.

    Args:
        layers: By layer name.
        method: How they were drawn, such as ``"percentile 99.99"``.
        variant, weights_sha256: Whose they are: any file exported from these weights can use them.
        crops: What they were measured on, in words.
        factors: Of `ufafuse.calibration.equalise`, with which the graph was changed before they were measured.
    """

    layers: Mapping[str, Range]
    method: str
    variant: str
    weights_sha256: str
    crops: str
    factors: Mapping[str, Sequence[float]] = field(default_factory=dict)

    def save(self, path: Path, *, force: bool = True) -> None:
        """Write them as JSON. Raises: OutputError."""
        write_json(path, self._to_json(), force=force)

    def sha256(self) -> str:
        """Their hash: which ranges a file was quantised with."""
        return hashlib.sha256(json.dumps(self._to_json(), sort_keys=True).encode()).hexdigest()

    def _to_json(self) -> dict[str, Any]:
        layers = {name: {"source": list(seen.source), "result": list(seen.result)} for name, seen in self.layers.items()}
        return {"schema": SCHEMA, **vars(self), "layers": layers}

    @classmethod
    def load(cls, path: Path, manifest: Manifest) -> "Ranges":
        """Read what `save` wrote, for a file with this manifest.

        Raises:
            InputError: There is no such file.
            ModelError: It is no such file, or of other weights.
        """
        if not path.is_file():
            raise InputError(f"`ranges={path}` is not a file: give the X.ranges.json of an earlier `ufa calibrate`.")
        try:
            values = json.loads(path.read_text())
            schema = values.pop("schema")
            layers = {name: Range(_ends(each["source"]), _ends(each["result"])) for name, each in values.pop("layers").items()}
            ranges = cls(layers, **values)
            ranges.check()
        except (ValueError, KeyError, TypeError, AttributeError, OSError, OverflowError, RecursionError) as error:
            raise ModelError(f"{path} holds no ranges ({error}): omit `ranges` to measure again.") from error
        if schema != SCHEMA:
            raise ModelError(f"{path} is of another ufafuse: omit `ranges` to measure again.")
        if ranges.weights_sha256 != manifest.weights_sha256:
            raise ModelError(f"{path} holds the ranges of other weights: omit `ranges` to measure again.")
        return ranges

    def check(self) -> None:
        """Raises: ValueError where an entry read from a file has another type, or a factor is none that channels are given."""
        for name in ("method", "variant", "weights_sha256", "crops"):
            if not isinstance(getattr(self, name), str):
                raise ValueError(f"{name} is no text")  # noqa: TRY004 - the caller's one kind
        for layer, factors in self.factors.items():
            if not all(type(factor) in (int, float) and factor in FACTORS for factor in factors):
                raise ValueError(f"the factors of {layer} are no powers of two from 1 to {FACTORS[-1]}")


def _ends(values: Any) -> tuple[float, float]:  # noqa: ANN401 - whatever JSON holds
    """Lowest and highest value (`ValueError`)."""
    low, high = values
    if not all(type(end) in (int, float) and abs(end) <= _LARGEST_END for end in (low, high)) or low > high:
        raise ValueError(f"{str(values)[:40]} is no range")
    return float(low), float(high)


def measure_ranges(
    model: "onnx.ModelProto",
    manifest: Manifest,
    crops: Sequence[PairCrop],
    method: RangeMethod,
    *,
    done: Callable[[], None] = ignored,
) -> Ranges:
    """Run the graph on frames and draw each convolution's input and output range.

    One window is run and forgotten at a time, so memory stays that of one run however many there are.

    Args:
        model: An ``onnx.ModelProto`` of `ufa export`.
        manifest: Its manifest.
        crops: What to run it on.
        method: See `RangeMethod`.
        done: Called after each window.

    Raises:
        ModelError: A range is not finite.
    """

    def inputs() -> Iterator[Inputs]:
        for crop in crops:
            yield model_inputs(crop, manifest.io)
            done()

    layers = layer_ranges(model, inputs(), method)
    name = f"{method.name} {method.percentile:g}" if method.name == "percentile" else method.name
    return Ranges(layers, name, manifest.variant, manifest.weights_sha256, f"{len(crops)} windows of {_sizes(crops)}")


def _sizes(crops: Sequence[PairCrop]) -> str:
    """The windows' size in words, or their smallest and largest: frames smaller than a window are taken whole."""
    sizes = sorted({crop.near.shape[:2] for crop in crops}, key=lambda size: (size[0] * size[1], size))
    return " to ".join("x".join(map(str, size)) for size in dict.fromkeys((sizes[0], sizes[-1])))


def layer_ranges(model: "onnx.ModelProto", inputs: Iterable[Inputs], method: RangeMethod) -> dict[str, Range]:
    """Run any graph of `ufa export` on inputs by tensor name, one set at a time; each convolution's ranges, by layer name."""
    import onnx
    from onnxruntime.quantization import CalibrationMethod, create_calibrator

    kinds = {
        "minmax": (CalibrationMethod.MinMax, {}),
        "entropy": (CalibrationMethod.Entropy, {"symmetric": True}),
        "percentile": (CalibrationMethod.Percentile, {"symmetric": True, "percentile": method.percentile}),
    }
    kind, options = kinds[method.name]
    with tempfile.TemporaryDirectory(prefix="ufafuse-") as folder:
        source = Path(folder) / "model.onnx"
        onnx.save(onnx.shape_inference.infer_shapes(model, data_prop=True), str(source))
        calibrator = create_calibrator(
            source, ["Conv"], str(Path(folder) / "augmented.onnx"), calibrate_method=kind, extra_options=options
        )
        with contextlib.redirect_stdout(StringIO()):  # for each of them it prints what it is doing
            for each in inputs:
                reader: Any = _OneInput(each)  # its base class would need onnxruntime at import
                calibrator.collect_data(reader)
            seen = calibrator.compute_data().data
    return {layer.name: _range(layer, seen) for layer in conv_layers(model)}


def model_inputs(crop: PairCrop, io: str) -> dict[str, NDArray[Any]]:
    """A window as a whole-frame graph takes it."""
    kind = check_pair(crop.near, crop.far)
    return {"near": pack(crop.near, kind, io), "far": pack(crop.far, kind, io)}


class _OneInput:
    """A calibration data reader of one item, as onnxruntime.quantization wants it."""

    def __init__(self, inputs: dict[str, NDArray[Any]]) -> None:
        self._inputs: Iterable[dict[str, NDArray[Any]]] = iter([inputs])

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        """The item, then nothing."""
        return next(iter(self._inputs), None)

    def __len__(self) -> int:
        return 1


def _range(layer: ConvLayer, seen: Mapping[str, Any]) -> Range:
    ends = []
    for tensor in (layer.source, layer.result):
        low, high = (float(np.asarray(end).min()) for end in seen[tensor].range_value)
        if not np.isfinite([low, high]).all():
            raise ModelError(f"layer {layer.name} gave NaN or infinity on the calibration frames: check the weights.")
        ends.append((low, high))
    return Range(*ends)
