"""Where rivals' weights lie. No torch here."""

from importlib.util import find_spec
from pathlib import Path

from ufafuse.network.spec import RIVALS
from ufafuse.runtime.errors import InputError

PACKAGE = "ufafuse_rivals"
OURS = ".safetensors"
# Two rules over one set of weights.
_SHARED = {"rival-densefuse-add": "rival-densefuse", "rival-densefuse-l1": "rival-densefuse"}


def weights_folder() -> Path | None:
    """The folder of our weights: that of the package `ufafuse-rivals`, or of the repository; None where there is neither."""
    found = find_spec(PACKAGE)
    places = list(found.submodule_search_locations or ()) if found else []
    beside = Path(__file__).resolve().parents[2] / "rivals" / PACKAGE  # in the repository
    return next((folder for folder in map(Path, [*places, str(beside)]) if any(folder.glob(f"*{OURS}"))), None)


def weights_name(name: str) -> str:
    """The file that holds a rival's weights."""
    return _SHARED.get(name, name) + OURS


def rival_weights(name: str) -> Path:
    """The file of our weights of a rival. Raises: InputError, saying how to get them."""
    if name not in RIVALS:
        raise InputError(f"there is no rival {name!r}: choose from {', '.join(RIVALS)}.")
    folder = weights_folder()
    path = folder / weights_name(name) if folder else None
    if path is None or not path.is_file():
        raise InputError(
            f"the weights of {name} are not installed: `pip install ufafuse-rivals` (folder rivals/ of the repository), train "
            f"them with `ufa train --variant {name}`, or give a file as `weights`."
        )
    return path
