"""What this machine can do at best, measured in the same run: a large matrix product for each arithmetic, and a large copy."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from ufafuse.runtime.cores import usable_cores
from ufafuse.runtime.machine import machine

_SIDE = 1536
_COPY_MIB = 192
_REPEATS = 4


def measure_peaks(threads: int | None = None) -> dict[str, Any]:
    """Peaks of this CPU (and of its GPU, where torch sees one).

    Args:
        threads: On how many threads: as many as what is held against them runs on. None: on every core.

    Returns:
        ``gemm``: for each arithmetic ``{"gops", "by"}`` (10^9 operations a second, two per multiply-accumulate, and the library
        that reached it) or ``{"why_not"}``; ``copy_gbs``: 10^9 bytes a second, read plus written, by these threads; ``gpu``:
        the same on the GPU, or nothing.
    """
    features = machine()["features"]
    gemm: dict[str, Any] = {"fp32": _best(_fp32_products(threads)), "int8": _best(_int8_products(threads))}
    if features.get("BF16") or features.get("AMX"):
        gemm["bf16"] = _best(_bf16_products(threads))
    else:
        gemm["bf16"] = {"why_not": "this CPU has no bf16 instructions: it would be emulated, hundreds of times slower"}
    gemm["fp16"] = {"why_not": "float16 is computed in float32 by the engines here on a CPU"}
    return {"gemm": gemm, "copy_gbs": round(_copy_gbs(threads or usable_cores()), 2), "gpu": _gpu_peaks()}


def better(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """The best of two measurements: a peak is what was reached at any moment of the run."""
    gemm = {}
    for name, entry in first["gemm"].items():
        gemm[name] = max((entry, second["gemm"][name]), key=lambda found: found.get("gops", 0))
    return {"gemm": gemm, "copy_gbs": max(first["copy_gbs"], second["copy_gbs"]), "gpu": second["gpu"] or first["gpu"]}


_Product = tuple[str, Callable[[], object]]


def _best(products: Iterator[_Product]) -> dict[str, Any]:
    reached: dict[str, float] = {}
    for library, product in products:
        product()
        shortest = min(_seconds(product) for _ in range(_REPEATS))
        reached[library] = 2 * _SIDE**3 / shortest / 1e9
    if not reached:
        return {"why_not": "no library that multiplies in this arithmetic is installed"}
    library = max(reached, key=lambda name: reached[name])
    return {"gops": round(reached[library], 1), "by": library}


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _fp32_products(threads: int | None) -> Iterator[_Product]:
    square = np.random.default_rng(0).random((_SIDE, _SIDE), np.float32)
    if threads is None:  # numpy's library takes what it was started with
        yield "numpy", lambda: square @ square
    yield from _torch_product("float32", threads)
    yield from _onnx_product("MatMul", square, square, threads)
    yield from _openvino_product("fp32", threads)


def _torch_product(kind: str, threads: int | None) -> Iterator[_Product]:
    try:
        import torch
    except ImportError:
        return
    square = torch.rand(_SIDE, _SIDE).to(getattr(torch, kind))
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        yield "torch", lambda: square @ square
    finally:
        torch.set_num_threads(before)


def _int8_products(threads: int | None) -> Iterator[_Product]:
    rng = np.random.default_rng(0)
    unsigned = rng.integers(0, 127, (_SIDE, _SIDE), np.uint8)
    yield from _onnx_product("MatMulInteger", unsigned, unsigned.astype(np.int8), threads)
    yield from _openvino_product("int8", threads)


def _openvino_product(arithmetic: str, threads: int | None) -> Iterator[_Product]:
    try:
        from ufafuse.runtime.backends.openvino_api import ops, ov
    except ImportError:
        return
    model: Any = ov.Model  # its stubs bind it to a class of another name

    def rounded(node: Any) -> Any:  # noqa: ANN401 - openvino's nodes
        if arithmetic != "int8":
            return node
        low, high = np.float32(-1.28), np.float32(1.27)
        return ops.fake_quantize(node, low, high, low, high, 256)

    rng = np.random.default_rng(0)
    left = ops.parameter([_SIDE, _SIDE], np.float32)
    weights = ops.constant(rng.random((_SIDE, _SIDE), np.float32) - 0.5)
    # In int8 the result is quantised too: otherwise the write of a float32 square would be timed with the product.
    graph = model([rounded(ops.matmul(rounded(left), rounded(weights), False, False))], [left])  # noqa: FBT003
    settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
    if threads is not None:
        settings["INFERENCE_NUM_THREADS"] = threads
    if arithmetic != "int8":  # there the arithmetic is in the graph
        settings["INFERENCE_PRECISION_HINT"] = {"fp32": "f32", "bf16": "bf16"}[arithmetic]
    request = ov.Core().compile_model(graph, "CPU", settings).create_infer_request()
    frame = rng.random((_SIDE, _SIDE), np.float32) - 0.5
    yield "openvino", lambda: request.infer([frame], share_inputs=True)


def _onnx_product(
    operator: str,
    left: Any,  # noqa: ANN401 - arrays of any type
    right: Any,  # noqa: ANN401
    threads: int | None,
) -> Iterator[_Product]:
    try:
        import onnx
        import onnxruntime as ort
    except ImportError:
        return
    element = onnx.helper.np_dtype_to_tensor_dtype(left.dtype)
    result = onnx.TensorProto.INT32 if operator == "MatMulInteger" else element
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(operator, ["left", "right"], ["product"])],
        "product",
        [onnx.helper.make_tensor_value_info("left", element, [_SIDE, _SIDE])],
        [onnx.helper.make_tensor_value_info("product", result, [_SIDE, _SIDE])],
        [onnx.numpy_helper.from_array(right, "right")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or 0  # 0: all
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    yield "onnxruntime", lambda: session.run(None, {"left": left})


def _bf16_products(threads: int | None) -> Iterator[_Product]:
    yield from _torch_product("bfloat16", threads)
    yield from _openvino_product("bf16", threads)


def _copy_gbs(count: int) -> float:
    size = _COPY_MIB << 20
    source, target = np.ones(size, np.uint8), np.zeros(size, np.uint8)
    slices = [slice(size * part // count, size * (part + 1) // count) for part in range(count)]
    with ThreadPoolExecutor(count) as pool:

        def copy() -> None:
            list(pool.map(lambda part: np.copyto(target[part], source[part]), slices))

        copy()
        return 2 * size / min(_seconds(copy) for _ in range(_REPEATS)) / 1e9


def _gpu_peaks() -> dict[str, Any] | None:
    """Matrix products and a copy on the GPU by torch, timed by CUDA events; nothing without a GPU."""
    try:
        import torch
    except ImportError:
        return None
    if not torch.cuda.is_available():
        return None
    side = 8192
    gemm = {}
    for name, kind in (("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)):
        square = torch.rand(side, side, device="cuda").to(kind)
        seconds = _cuda_seconds(lambda square=square: square @ square)  # type: ignore[misc]
        gemm[name] = {"gops": round(2 * side**3 / seconds / 1e9, 1), "by": "torch"}
    source = torch.ones(1 << 28, device="cuda", dtype=torch.uint8)
    target = torch.empty_like(source)
    seconds = _cuda_seconds(lambda: target.copy_(source))
    return {"gemm": gemm, "copy_gbs": round(2 * source.numel() / seconds / 1e9, 2)}


def _cuda_seconds(call: Callable[[], object]) -> float:
    import torch

    call()
    times = []
    for _ in range(_REPEATS):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        call()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) / 1e3)
    return min(times)
