"""ONNX Runtime's execution providers for NVIDIA GPUs, and the proof that the one asked for is the one in use.

ONNX Runtime answers a provider it cannot load with a log line and runs on the CPU; here that is an error.
"""

import os
from pathlib import Path
from typing import Any

from ufafuse.runtime.artefact import sha256_of
from ufafuse.runtime.errors import BackendError, InputError, OutputError

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
_CACHE_VARIABLE = "UFAFUSE_CACHE"
_TF32_VARIABLE = "NVIDIA_TF32_OVERRIDE"  # read by CUDA's libraries; TensorRT's provider has no option of its own


def engine_cache_folder() -> Path:
    """Where TensorRT engines that ONNX Runtime builds are kept: ``$UFAFUSE_CACHE``, or ``~/.cache/ufafuse``."""
    chosen = os.environ.get(_CACHE_VARIABLE)
    return Path(chosen) if chosen else Path.home() / ".cache" / "ufafuse"


def provider_list(
    provider: str, *, precision: str = "fp32", model: Path | None = None, cache: Path | None = None, device: int = 0
) -> list[tuple[str, dict[str, str]]]:
    """What to hand to ``InferenceSession(providers=...)``.

    Both providers would round the factors of float32 products to TF32's ten bits on Ampere and later; float32 is kept:
    CUDA has an option for it, TensorRT the variable ``NVIDIA_TF32_OVERRIDE``, which is set to 0 in this process unless the
    user has set it.

    Args:
        provider: ``"cpu"``, ``"cuda"`` or ``"tensorrt"``.
        precision: The model's, from its manifest. TensorRT is allowed half where the file's tensors are half, and int8
            where it has quantisers; never beyond the file.
        model: The file that will be run. TensorRT's provider tells engines apart by the file's name and its nodes', not by its
            weights: each file has a folder of its own. None: engines are not kept.
        cache: Folder for built engines and timings; by default `engine_cache_folder`. Made if missing.
        device: The GPU's index.

    Returns:
        (name, options) of the provider and of those it needs behind it: TensorRT leaves what it cannot run to CUDA, and
        both leave shape arithmetic to the CPU.

    Raises:
        InputError: The provider is not known.
        BackendError: The installed ONNX Runtime does not contain it.
        OutputError: The cache folder cannot be made.
        OSError: ``model`` cannot be read.
    """
    check_built_in(provider)
    cpu: tuple[str, dict[str, str]] = (PROVIDERS["cpu"], {})
    if provider == "cpu":
        return [cpu]
    cuda = (PROVIDERS["cuda"], {"device_id": str(device), "cudnn_conv_use_max_workspace": "1", "use_tf32": "0"})
    if provider == "cuda":
        return [cuda, cpu]
    folder = cache or engine_cache_folder() / "onnxruntime"
    engines = folder if model is None else folder / sha256_of(model)
    try:
        engines.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made for built engines: {error.strerror}. Set {_CACHE_VARIABLE}.") from error
    os.environ.setdefault(_TF32_VARIABLE, "0")
    options = {
        "device_id": str(device),
        "trt_engine_cache_enable": "0" if model is None else "1",
        "trt_engine_cache_path": str(engines),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(folder),
        "trt_fp16_enable": "1" if precision == "fp16" else "0",
        "trt_int8_enable": "1" if precision == "int8" else "0",
    }
    return [(PROVIDERS["tensorrt"], options), cuda, cpu]


def check_built_in(provider: str) -> None:
    """Refuse a provider that the installed ONNX Runtime lacks (`BackendError`), or that is none (`InputError`)."""
    if provider not in PROVIDERS:
        raise InputError(f"`provider={provider}` is not known: choose one of {', '.join(PROVIDERS)}.")
    import onnxruntime as ort

    available = ort.get_available_providers()
    if provider != "cpu" and PROVIDERS[provider] not in available:
        raise BackendError(
            f"`provider={provider}`: the installed onnxruntime has {', '.join(available)} only. Run `pip uninstall "
            "onnxruntime` and `pip install 'ufafuse[gpu]'`."
        )


def check_provider(session: Any, provider: str) -> None:  # noqa: ANN401 - onnxruntime ships no types
    """Hold the provider in use against the one asked for.

    Args:
        session: A loaded ``onnxruntime.InferenceSession``.
        provider: As `provider_list`.

    Raises:
        BackendError: ONNX Runtime fell back to another provider.
    """
    used = session.get_providers()
    if not used or used[0] != PROVIDERS[provider]:
        raise BackendError(
            f"`provider={provider}`: ONNX Runtime fell back to {used[0] if used else 'nothing'}. Check `nvidia-smi`, and that "
            "CUDA, cuDNN and (for tensorrt) TensorRT of the versions it was built with can be loaded; or use `provider=cpu`."
        )
