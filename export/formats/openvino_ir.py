"""OpenVINO's own files: ``X.xml`` and ``X.bin``. Halves are enlarged when a CPU reads them; GPUs and NPUs compute in them."""

from pathlib import Path
from tempfile import TemporaryDirectory

from ufafuse.export.formats.base import SourceGraph


def convert(source: SourceGraph, out: Path) -> None:
    """Write ``out`` and its weights; the graph is the float32 one, halves are made of its constants."""
    import onnx

    from ufafuse.runtime.backends.openvino_api import ov

    with TemporaryDirectory() as folder:
        path = Path(folder) / "graph.onnx"
        onnx.save(source.onnx(), path)
        network = ov.Core().read_model(path)
        network.set_rt_info(source.manifest.to_metadata()["ufafuse"], ["ufafuse"])
        ov.save_model(network, str(out), compress_to_fp16=source.half)
