"""The networks that ship with the package, by name.

``ufa`` is the paper's network, ``ufa-edge`` the multi-scale one and the default. A name stands for the files
``NAME.safetensors`` (weights), ``NAME.onnx`` (fp32), ``NAME-int8.onnx``, the tiling companions ``NAME.means.onnx`` and
``NAME.tile.onnx``, and ``NAME.reference.npz`` (a tiny pair with its result, for the self-test) in this folder.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ufafuse.runtime.errors import InputError
from ufafuse.runtime.kinds import RUNNABLE, in_words, kind_of

DEFAULT = "ufa-edge"
STACKS = "ufa-stack"  # the default for more than two frames
FOLDER = Path(__file__).resolve().parent
FREE = "free for any use"  # how a manifest says that nothing learnt from stands in the way of a product
PURPOSES = {
    "ufa": "The paper's network, to compare with the paper: one scale, 344,229 parameters. Slow.",
    "ufa-edge": "A line camera: three scales, a fiftieth of the arithmetic, the best quality of pairs.",
    "ufa-free": "A pair in a product: learnt from nothing but what is free for any use; less exact at edges than ufa-edge.",
    "ufa-stack": "A focus stack: all frames at once, whatever their number, with heights.",
    "ufa-nano": "A rate that ufa-edge does not reach: two scales, a hundred-and-fiftieth of the arithmetic.",
}
_PRECISION_SUFFIX = {None: "", "fp32": "", "bf16": "", "int8": "-int8"}


def bundled() -> list[str]:
    """Names of the networks whose ONNX lies in this folder."""
    return sorted({path.name.split(".")[0].removesuffix("-int8") for path in FOLDER.glob("*.onnx")})


def default_for(frames: int, *, of_stack: bool = False, lights: bool = False) -> str:
    """The bundled network that fuses so many frames where none is named.

    Args:
        frames: How many.
        of_stack: As a stack, however few.
        lights: Clipped levels mislead a network for pairs, see `ufafuse.runtime.lights`.
    """
    return STACKS if (frames > 2 or of_stack or lights) and STACKS in bundled() else DEFAULT


def model_path(model: str | Path | None = None, *, precision: str | None = None) -> Path:
    """The ONNX (or engine) file behind a name or a path.

    Args:
        model: A bundled name (a calibrated file's own, such as ``"ufa-nano-int8"``, too), a path, or nothing for the default
            network.
        precision: With a network's name, ``"int8"`` takes the calibrated file.

    Raises:
        InputError: Neither a bundled name nor a file; or no file of that precision is bundled.
    """
    name = str(model if model is not None else DEFAULT)
    if Path(name).suffix or Path(name).is_file():
        path = Path(name)
        kind = kind_of(path) if path.exists() else None
        if not path.is_file() and (kind is None or kind.engines):  # what runs elsewhere may be a folder, and is told as such
            lacking = "is no file" if path.exists() else "does not exist"
            raise InputError(f"`model={name}` {lacking}: give a {in_words(RUNNABLE)} file, or one of {_names()}.")
        return path
    if name.endswith("-int8") and (FOLDER / f"{name}.onnx").is_file():
        return FOLDER / f"{name}.onnx"
    if name not in bundled():
        raise InputError(f"`model={name}` is not known: give one of {_names()}, or a {in_words(RUNNABLE)} file.")
    if precision not in _PRECISION_SUFFIX:
        raise InputError(
            f"no {precision} file of {name} is bundled: run `ufa export --weights {name} --precision {precision} -o X.onnx` "
            "and give the file as `model`."
        )
    path = FOLDER / f"{name}{_PRECISION_SUFFIX[precision]}.onnx"
    if not path.is_file():
        raise InputError(
            f"no {precision} file of {name} is bundled: run `ufa calibrate {name} --pairs DIR -o X.onnx` and give the file as "
            "`model`."
        )
    return path


def has_int8(model: str | Path | None = None) -> bool:
    """Whether a calibrated file is bundled for this name (a path has none)."""
    name = str(model if model is not None else DEFAULT)
    return name in bundled() and (FOLDER / f"{name}{_PRECISION_SUFFIX['int8']}.onnx").is_file()


def weights_path(model: str | Path | None = None) -> Path:
    """The ``.safetensors`` file behind a bundled name or a path. Raises: InputError when there is none."""
    name = str(model if model is not None else DEFAULT)
    path = Path(name) if Path(name).suffix else FOLDER / f"{name}.safetensors"
    if not path.is_file():
        raise InputError(f"no weights {name}: give a .safetensors file or one of {_names()}.")
    return path


def file_named(model: str | Path) -> Path:
    """The file that a command is given by its path, or by a bundled name (its ONNX file).

    Raises:
        InputError: It is neither; a path with a suffix is left to whoever reads it.
    """
    path = Path(model)
    if path.suffix or path.exists():
        return path
    if not (found := FOLDER / f"{model}.onnx").is_file():
        raise InputError(f"{model} is neither a file nor a bundled network: give a file, or one of {_names()}.")
    return found


def beside_or_here(model: Path) -> Path:
    """The folder for what is written about a model file: its own, or for a bundled one the working folder."""
    return Path() if model.parent == FOLDER else model.parent


def learnt_from(name: str) -> str:
    """What a bundled network has learnt from, and its terms; empty where its weights do not say."""
    from ufafuse.runtime.artefact import read_manifest

    return str(read_manifest(weights_path(name)).extra.get("data", ""))


def _names() -> str:
    return ", ".join(bundled()) or "(none bundled)"


@dataclass(frozen=True)
class Described:
    """A bundled network for people.

    Args:
        name: What to give to ``--model``.
        default: Whether it is taken where none is named.
        purpose: What it is for.
        data: What it has learnt from, and its terms.
        free: Whether all of that is free for any use, in a product too.
        bytes: Size of its ONNX file for each precision that has one.
    """

    name: str
    default: bool
    purpose: str
    data: str = ""
    free: bool = False
    bytes: dict[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The entry in the command's JSON."""
        return asdict(self)


def described() -> list[Described]:
    """Every bundled network, the default one first."""
    names = sorted(bundled(), key=lambda name: (name != DEFAULT, name))
    return [
        Described(name, name == DEFAULT, PURPOSES.get(name, ""), data := learnt_from(name), FREE in data, _sizes(name))
        for name in names
    ]


def _sizes(name: str) -> dict[str, int]:
    files = {kind: FOLDER / f"{name}{_PRECISION_SUFFIX[kind]}.onnx" for kind in ("fp32", "int8")}
    return {kind: path.stat().st_size for kind, path in files.items() if path.is_file()}
