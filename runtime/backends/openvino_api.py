"""OpenVINO, imported without its converter of models.

``import openvino`` also imports the converter (``openvino.tools.ovc``) where it can, and that one reports the import to its
maker: it writes an identifier into ``~/intel``, and a thread sends an event over the network, asking nobody (2026.4). A camera
over an assembly line must do neither, nor wait for it: without, the import takes 0.04 s instead of 0.10 (two cores with AMX).
Nothing here converts models; who wants to, in the same process, finds ``openvino.tools.ovc`` as ever, though not
``openvino.convert_model``.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_REPORTS_TO_ITS_MAKER = "openvino.tools.ovc"


@contextmanager
def _without(module: str) -> Iterator[None]:
    """Let imports of ``module`` fail meanwhile, unless it was imported before."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]  # what import takes for "there is none"
    try:
        yield
    finally:
        del sys.modules[module]


with _without(_REPORTS_TO_ITS_MAKER):
    import openvino as ov
    import openvino.opset13 as ops
    from openvino.preprocess import PrePostProcessor

__all__ = ["PrePostProcessor", "ops", "ov"]
