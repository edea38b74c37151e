"""Model files by their suffix: what kind a file is, of which parts it consists, and what runs it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Kind:
    """A kind of model file.

    Args:
        name: As manifests name it.
        suffix: What the file's name ends in.
        engines: The runtime's engines that run it, see `ufafuse.runtime.session.BACKENDS`; none: what runs it is not the
            runtime's (``elsewhere``).
        part: The suffix of the second file it consists of, which takes the place of the last one; empty: there is none.
        beside: Whether its manifest lies beside it, as ``X.json``, since its format has no room for one.
        elsewhere: Where it runs, in words.
        maker: The command that makes it.
    """

    name: str
    suffix: str
    engines: tuple[str, ...] = ()
    part: str = ""
    beside: bool = True
    elsewhere: str = ""
    maker: str = "ufa export"

    def files(self, path: Path) -> list[Path]:
        """The files that make up ``path``, itself first; of a folder all that is in it."""
        if path.is_dir():
            return sorted(inner for inner in path.rglob("*") if inner.is_file())
        return [path, *([path.with_suffix(self.part)] if self.part else [])]


KINDS = (
    Kind("weights", ".safetensors", beside=False, maker="ufa train"),
    Kind("onnx", ".onnx", ("openvino", "onnxruntime"), beside=False),
    Kind("engine", ".engine", ("tensorrt",), maker="ufa build"),
    Kind("openvino", ".xml", ("openvino",), part=".bin"),
    Kind("ncnn", ".ncnn.param", ("ncnn",), part=".bin"),
    Kind("mnn", ".mnn", ("mnn",)),
    Kind("litert", ".tflite", ("litert",)),
    Kind("torchscript", ".torchscript", elsewhere="in PyTorch"),
    Kind("executorch", ".pte", elsewhere="in ExecuTorch, which needs PyTorch in Python"),
    Kind("coreml", ".mlpackage", elsewhere="on a Mac or an iPhone"),
)
SUFFIXES = tuple(kind.suffix for kind in KINDS)
RUNNABLE = tuple(kind.suffix for kind in KINDS if kind.engines)


def kind_of(path: Path) -> Kind | None:
    """The kind of a model file, by its name; None where the suffix is not known."""
    return next((kind for kind in KINDS if path.name.endswith(kind.suffix)), None)


def engines_of(name: str) -> tuple[str, ...]:
    """The runtime's engines for files of the kind that manifests call ``name``; empty where it has none."""
    return next((kind.engines for kind in KINDS if kind.name == name), ())


def stem_of(path: Path) -> str:
    """A model file's name without its suffix, which may have two parts."""
    kind = kind_of(path)
    return path.stem if kind is None else path.name[: -len(kind.suffix)]


def beside(path: Path, mark: str) -> Path:
    """Where a companion of a model file lies: ``X.encode.onnx`` beside ``X.onnx``, whatever parts the suffix has."""
    stem = stem_of(path)
    return path.with_name(f"{stem}.{mark}{path.name[len(stem) :]}")


def in_words(suffixes: tuple[str, ...]) -> str:
    """ ".a, .b or .c"."""
    return f"{', '.join(suffixes[:-1])} or {suffixes[-1]}"
