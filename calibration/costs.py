"""What each convolution costs, so that a report can say how much of the work is int8 and not only how many layers."""

from typing import TYPE_CHECKING

import numpy as np

from ufafuse.calibration.convolutions import conv_layers
from ufafuse.calibration.probe import Probe

if TYPE_CHECKING:
    import onnx


def shares_of_work(model: "onnx.ModelProto", stride: int, io: str) -> dict[str, float]:
    """Each convolution's share of the multiply-accumulates of one pair, by layer name.

    The graph is run once on a small black pair to see the sizes: shape inference cannot follow padding to a computed size.

    Args:
        model: A whole-frame ``onnx.ModelProto`` of `ufa export`.
        stride: The network's; the frame is a multiple of it, so that nothing is padded.
        io: ``"float"`` or ``"uint8"``.
    """
    layers = conv_layers(model)
    side = 2 * stride
    frame = np.zeros((1, side, side, 3), np.uint8) if io == "uint8" else np.zeros((1, 3, side, side), np.float32)
    results = Probe(model, [layer.result for layer in layers])({"near": frame, "far": frame})
    weights = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    work = {
        # Each value of a result takes the products of one output channel's weights.
        layer.name: float(results[layer.result].size * np.prod(weights[layer.weight][1:]))
        for layer in layers
    }
    total = sum(work.values())
    return {name: each / total for name, each in work.items()}
