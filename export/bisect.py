"""Which layers break a file's tolerance: the fewest that do so while PyTorch's own float32 takes the place of all others."""

import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ufafuse.export.graphs import io_of
from ufafuse.export.onnx_file import load_graph, stamped
from ufafuse.export.signatures import graph_kind
from ufafuse.network.base import Network
from ufafuse.runtime.artefact import read_manifest
from ufafuse.runtime.callbacks import ignored
from ufafuse.runtime.checks.cases import Case, Run, verify_cases
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.session import open_session

if TYPE_CHECKING:
    import onnx

_DEQUANTISED = ".dequantized"
Trial = Callable[[Collection[str]], tuple[bool, float]]


def bisect_layers(
    artefact: Path, net: Network, cases: Sequence[Case], *, run: Run | None = None, on_step: Callable[[str], None] = ignored
) -> dict[str, Any]:
    """Find the smallest set of convolutions that, as they are in the file, break its tolerance.

    Each layer alone is tried first; where none breaks it, the costliest together, and then each of these left out again. The
    graphs run in ONNX Runtime.

    Args:
        artefact: An ONNX file of any precision.
        net: The network that it came from.
        cases: What it is judged on.
        run: As `verify_cases`.
        on_step: Told what is tried.

    Returns:
        ``ok``: the file meets its tolerance; ``layers``: the set, the costliest first (empty where ``ok``, or where the
        difference is in no convolution); ``alone``: dB of each layer by itself; ``psnr_all``, ``psnr_none``, ``psnr_set``;
        ``elsewhere``: even with every convolution replaced the tolerance is missed.

    Raises:
        InputError: The file is no ONNX.
    """
    if artefact.suffix != ".onnx":
        raise InputError(f"`bisect`: the layers of {artefact.name} cannot be exchanged: give the .onnx file.")
    exchange = _Exchange(artefact, net)
    with tempfile.TemporaryDirectory(prefix="ufafuse-") as folder:

        def judge(kept: Collection[str]) -> tuple[bool, float]:
            on_step(f"{len(kept)} of {len(exchange.names)} layers as in the file")
            path = Path(folder) / "trial.onnx"
            path.write_bytes(stamped(exchange.with_kept(kept)))
            with open_session(path, backend="onnxruntime") as session:
                report = verify_cases(session, cases, artefact=artefact, reference=artefact, run=run).report
            return report["ok"], round(report["worst"]["psnr"], 2)

        return _searched(exchange.names, judge)


def _searched(names: Sequence[str], judge: Trial) -> dict[str, Any]:
    (all_ok, all_db), (none_ok, none_db) = judge(names), judge(())
    found: dict[str, Any] = {"ok": all_ok, "layers": [], "alone": {}, "psnr_all": all_db, "psnr_none": none_db}
    found |= {"psnr_set": all_db, "elsewhere": not none_ok}
    if all_ok or not none_ok:
        return found
    alone = {name: judge([name]) for name in names}
    found["alone"] = {name: psnr for name, (_, psnr) in alone.items()}
    costliest = sorted(names, key=lambda name: (alone[name][0], alone[name][1]))
    chosen = _fewest(costliest, judge)
    found["layers"], found["psnr_set"] = chosen, judge(chosen)[1]
    return found


def _fewest(costliest: Sequence[str], judge: Trial) -> list[str]:
    """The shortest beginning of the list that breaks, by halving; then without each layer that it can spare."""
    low, high = 1, len(costliest)
    while low < high:
        middle = (low + high) // 2
        if judge(costliest[:middle])[0]:
            low = middle + 1
        else:
            high = middle
    chosen = list(costliest[:high])
    for name in reversed(chosen[:-1]):
        without = [each for each in chosen if each != name]
        if not judge(without)[0]:
            chosen = without
    return chosen


class _Exchange:
    """Puts a network's own float32 convolutions in the place of a file's.

    Args:
        artefact: The ONNX file.
        net: The network.
    """

    def __init__(self, artefact: Path, net: Network) -> None:
        self._model = load_graph(artefact)
        manifest = read_manifest(artefact)
        module = graph_kind(manifest.role, net.spec)(net, io=io_of(manifest))
        self._exact = {name: value.detach().float().numpy() for name, value in module.named_parameters()}
        self._constants = {tensor.name: tensor for tensor in self._model.graph.initializer}
        self._made_by = {name: node for node in self._model.graph.node for name in node.output}
        self._equalised = bool(manifest.extra.get("equalised"))
        self.names = [name for node in self._model.graph.node if (name := self._layer(node))]

    def _layer(self, node: Any) -> str:  # noqa: ANN401 - protobuf's
        """The layer that a node is, where the network has it; else empty."""
        if node.op_type != "Conv":
            return ""
        weight = node.input[1].removesuffix(_DEQUANTISED)
        return weight.removesuffix(".weight") if weight in self._exact else ""

    def with_kept(self, kept: Collection[str]) -> "onnx.ModelProto":
        """The file with all layers exchanged but these."""
        import onnx

        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        nodes: list[Any] = []
        for node in model.graph.node:
            name = self._layer(node)
            nodes += [node] if not name or name in kept else self._exchanged(node, name, model.graph)
        del model.graph.node[:]
        model.graph.node.extend(nodes)
        return model

    def _exchanged(self, node: Any, name: str, graph: Any) -> Iterator[Any]:  # noqa: ANN401
        import onnx

        weight = self._exact[f"{name}.weight"]
        values = [weight]
        if len(node.input) > 2:
            values.append(self._exact[f"{name}.bias"])
        if self._equalised:
            values = self._enlarged(node, values)
        names = [f"{name}.{part}.exact" for part in ("weight", "bias")][: len(values)]
        graph.initializer.extend(
            onnx.numpy_helper.from_array(np.asarray(value, np.float32), each) for each, value in zip(names, values, strict=True)
        )
        source, half = self._unquantised(node.input[0]), self._is_half(node)
        if half:
            yield onnx.helper.make_node("Cast", [source], [f"{name}.widened"], to=onnx.TensorProto.FLOAT)
            source = f"{name}.widened"
        result = f"{name}.exact" if half else node.output[0]
        exact = onnx.helper.make_node("Conv", [source, *names], [result])
        exact.attribute.extend(node.attribute)
        yield exact
        if half:
            yield onnx.helper.make_node("Cast", [result], [node.output[0]], to=onnx.TensorProto.FLOAT16)

    def _unquantised(self, name: str) -> str:
        """What a convolution reads, before it was quantised."""
        maker = self._made_by.get(name)
        if maker is None or maker.op_type != "DequantizeLinear":
            return name
        quantiser = self._made_by.get(maker.input[0])
        return str(quantiser.input[0]) if quantiser is not None and quantiser.op_type == "QuantizeLinear" else name

    def _is_half(self, node: Any) -> bool:  # noqa: ANN401
        import onnx

        tensor = self._constants.get(node.input[1])
        return tensor is not None and tensor.data_type == onnx.TensorProto.FLOAT16

    def _enlarged(self, node: Any, values: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:  # noqa: ANN401
        """Weights and bias with the powers of two that calibration enlarged the file's channels by."""
        weight = values[0]
        ratio = _powers(self._weights(node), weight)
        scaled = [weight * ratio[:, :, None, None]]
        if len(values) > 1:
            import onnx

            own = onnx.numpy_helper.to_array(self._constants[node.input[2]]).astype(np.float64)
            sound = (own * values[1] > 0) & (values[1] != 0)
            factor = np.exp2(np.rint(np.log2(np.where(sound, own / np.where(values[1] == 0, 1, values[1]), 1.0))))
            scaled.append(values[1] * factor)
        return scaled

    def _weights(self, node: Any) -> NDArray[Any]:  # noqa: ANN401
        """A convolution's weights as the file has them, out of their quantiser."""
        import onnx

        name = node.input[1]
        if name in self._constants:
            return onnx.numpy_helper.to_array(self._constants[name]).astype(np.float64)
        maker = self._made_by[name]
        tensors = [onnx.numpy_helper.to_array(self._constants[each]).astype(np.float64) for each in maker.input[:2]]
        scale = tensors[1].reshape(-1, 1, 1, 1)
        return np.asarray(tensors[0] * scale)


def _powers(own: NDArray[Any], exact: NDArray[Any]) -> NDArray[Any]:
    """The power of two between two weights' input and output channels, C_out x C_in.

    Where the file's weights are not the network's at all it is a guess, and what takes their place is out of scale by some.
    It is the ratio of a factor of the output's and one of the input's channel; they are found in turns, each entry counting by
    its strength, so that rounding to whole levels does not mislead.
    """
    both, power = (own * exact).sum((2, 3)), (exact * exact).sum((2, 3))
    sound = both > 0
    logs = np.log2(np.where(sound, both / np.maximum(power, 1e-30), 1.0))
    strength = np.where(sound, power, 0.0) + 1e-30
    out, into = np.zeros(len(own)), np.zeros(own.shape[1])
    for _ in range(8):
        into = np.average(logs - out[:, None], axis=0, weights=strength)
        out = np.average(logs - into[None], axis=1, weights=strength)
    return np.asarray(np.exp2(np.rint(out[:, None] + into[None])))
