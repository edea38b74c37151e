"""MNN, by the converter in its package.

That is called as a function, in a process of its own. The package's command would install a client for logs with pip, and tell
its maker what was converted, asking nobody (3.6).
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from ufafuse.export.formats.base import SourceGraph, run_tool
from ufafuse.export.unbatched import unbatched
from ufafuse.runtime.errors import BackendError

_CONVERT = "import sys, _tools; _tools.mnnconvert(['mnnconvert', *sys.argv[1:]])"


def convert(source: SourceGraph, out: Path) -> None:
    """Write ``out``; tensors keep their names."""
    import onnx

    graph = source.onnx()
    if source.form.batch == 1:  # faster where the frames go apart
        graph = unbatched(graph)
    with TemporaryDirectory() as name:
        folder = Path(name)
        onnx.save(graph, folder / "graph.onnx")
        options = ["-f", "ONNX", "--modelFile", "graph.onnx", "--MNNModel", "graph.mnn", "--bizCode", "ufafuse"]
        run_tool("MNN", [sys.executable, "-c", _CONVERT, *options, *(["--fp16"] if source.half else [])], folder)
        made = folder / "graph.mnn"
        if not made.is_file():
            raise BackendError("MNN's converter wrote no network: it knows an operator of this graph no more.")
        out.write_bytes(made.read_bytes())
