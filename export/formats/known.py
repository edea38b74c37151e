"""All formats, in the order in which tables list them."""

from pathlib import Path

from ufafuse.export.formats.base import Format
from ufafuse.runtime.errors import InputError

FORMATS = (
    Format(
        "openvino",
        "OpenVINO IR",
        ".xml",
        "openvino_ir",
        ("openvino", "onnx"),
        ("openvino",),
        "cpu",
        "Intel and other x86 CPUs, Arm CPUs, Intel GPUs and NPUs",
        precisions=("fp32", "fp16"),
        free=True,
        several=True,
        ios=("float", "uint8"),
    ),
    Format(
        "ncnn",
        "ncnn",
        ".ncnn.param",
        "ncnn",
        ("pnnx", "ncnn", "onnx"),
        ("pnnx", "ncnn"),
        "ncnn",
        "Arm boards (Raspberry Pi), Android, iOS; CPUs, GPUs with Vulkan",
        precisions=("fp32", "fp16"),
    ),
    Format(
        "torchscript",
        "TorchScript",
        ".torchscript",
        "torchscript",
        (),
        (),
        "export",
        "whatever PyTorch runs on, without Python too",
        free=True,
        several=True,
        ios=("float", "uint8"),
    ),
    Format(
        "mnn",
        "MNN",
        ".mnn",
        "mnn",
        ("MNN", "onnx"),
        ("MNN",),
        "mnn",
        "Android, iOS, Arm boards; CPUs, GPUs with OpenCL, Vulkan or Metal",
        precisions=("fp32", "fp16"),
    ),
    Format(
        "litert",
        "LiteRT (TensorFlow Lite)",
        ".tflite",
        "litert",
        ("litert_torch", "ai_edge_litert"),
        ("litert-torch", "ai-edge-litert"),
        "litert",
        "Android, iOS, Arm boards; GPUs and NPUs by LiteRT's delegates",
    ),
    Format(
        "executorch",
        "ExecuTorch",
        ".pte",
        "executorch",
        ("executorch",),
        ("executorch",),
        "executorch",
        "Android, iOS, Arm boards",
    ),
    Format(
        "coreml",
        "Core ML",
        ".mlpackage",
        "coreml",
        ("coremltools",),
        ("coremltools",),
        "coreml",
        "Macs, iPhones, iPads: CPU, GPU, Neural Engine",
        precisions=("fp32", "fp16"),
        why_not_run="Core ML predicts on Apple's systems only: what the file says of itself was checked, its results were not",
    ),
    Format(
        "rknn",
        "ONNX for RKNN-Toolkit2",
        ".onnx",
        "npu",
        ("onnx", "onnxruntime"),
        ("onnx", "onnxruntime"),
        "export",
        "Rockchip's NPUs (RK3588, RK3576, RK356x), once RKNN-Toolkit2 has compiled it",
        mark="-rknn",
        file_kind="onnx",
    ),
)
# What could not be had, and why: stands in the report of `ufa export --all`.
NOT_HAD = (
    "Hailo (.hef): its Dataflow Compiler is behind an account, and so is its list of operators. It wants what "
    "`ufa export --format rknn` writes, fixed sizes and no batch; nothing of it was tried",
    "TensorFlow SavedModel, TensorFlow.js, Edge TPU: the converter (onnx2tf) pins releases of NumPy, ONNX and TensorFlow that "
    "cannot be installed beside the others",
)
NAMES = ("onnx", *(each.name for each in FORMATS))


def format_named(name: str) -> Format:
    """A format other than ONNX. Raises: InputError for a name that is not known."""
    found = next((each for each in FORMATS if each.name == name), None)
    if found is None:
        raise InputError(f"`formats={name}` is not known: choose one of {', '.join(NAMES)}.")
    return found


def format_of(out: Path) -> str:
    """The format that a name asks for by its suffix; ``"onnx"`` where none does."""
    return next((each.name for each in FORMATS if not each.file_kind and out.name.endswith(each.suffix)), "onnx")
