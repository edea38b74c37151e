"""A rival with its weights: ours, or those that its authors published."""

from pathlib import Path

from ufafuse.network.rivals.authors import load_authors
from ufafuse.network.rivals.base import RivalNet
from ufafuse.network.rivals.made import build_rival
from ufafuse.network.rivals.places import OURS, rival_weights, weights_name
from ufafuse.network.spec import RIVALS, Spec
from ufafuse.network.weights import fill
from ufafuse.runtime.artefact import METADATA_KEY, read_manifest, safetensors_metadata
from ufafuse.runtime.errors import InputError, ModelError
from ufafuse.runtime.texts import suffix_words

SUFFIXES = (OURS, ".pth", ".pt", ".npz", ".mat")


def load_rival(name: str, path: Path | None = None) -> RivalNet:
    """A rival in evaluation mode on the CPU.

    Args:
        name: In `RIVALS`.
        path: Our weights (.safetensors with our manifest), or its authors' (.pth, .pt, .npz, .mat, any other
            .safetensors). None: our installed ones.

    Raises:
        InputError: There is no such rival or file, or the file is of another format.
        ModelError: The file is broken, or its arrays do not fit.
    """
    path = rival_weights(name) if path is None else Path(path)
    if name not in RIVALS:
        raise InputError(f"there is no rival {name!r}: choose from {', '.join(RIVALS)}.")
    if not path.is_file():
        raise InputError(f"{path} is not a file: give the weights of {name}.")
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{suffix_words(path)}: weights are {', '.join(SUFFIXES)}.")
    ours = path.suffix == OURS and METADATA_KEY in safetensors_metadata(path)
    return _ours(name, path) if ours else load_authors(RIVALS[name], path)


def _ours(name: str, path: Path) -> RivalNet:
    manifest = read_manifest(path)
    held = Spec.from_dict(manifest.spec)
    if weights_name(held.name) != weights_name(name):
        raise ModelError(f"{path} holds the weights of {held.name!r}, not of {name!r}: give the right file.")
    forms = [spec for spec in RIVALS[name] if manifest.spec.get("form", "") in ("", spec.form)]
    net = build_rival(forms[0])
    fill(net, path, name)
    return net
