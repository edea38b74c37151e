"""The models that a server has loaded, by the names that requests call them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from ufafuse.runtime.artefact import tool_versions
from ufafuse.runtime.batch import most_pairs
from ufafuse.runtime.fuser import Fuser
from ufafuse.runtime.serving.admission import Refusal
from ufafuse.runtime.serving.options import ServeOptions

VERSION = "1"
SERVER = "ufafuse"
EXTENSIONS = ("binary_tensor_data", "statistics", "model_configuration")

# The tensors of every model, as its metadata lists them. -1 is any size.
INPUTS = (("near", "UINT8", [-1, -1, -1, 3]), ("far", "UINT8", [-1, -1, -1, 3]), ("images", "BYTES", [-1]))
OUTPUTS = (("fused", "UINT8", [-1, -1, -1, 3]), ("map", "FP32", [-1, -1, -1]), ("image", "BYTES", [-1]))


@dataclass(frozen=True)
class Loaded:
    """A model that is ready.

    Args:
        name: What requests call it.
        fuser: With the model loaded.
        batch: Pairs that are fused in one run at most.
    """

    name: str
    fuser: Fuser
    batch: int

    @property
    def platform(self) -> str:
        """The engine, as the protocol calls it."""
        return f"ufafuse_{self.fuser.backend}"

    def described(self) -> str:
        """The model in a few words."""
        return f"{self.name}: {self.fuser.model.name} in {self.fuser.precision} on {self.fuser.backend} ({self.fuser.why})"

    def listed(self) -> dict[str, str]:
        """The entry in the index of the protocol's repository."""
        return {"name": self.name, "version": VERSION, "state": "READY"}

    def metadata(self) -> dict[str, Any]:
        """The protocol's model metadata."""
        return {
            "name": self.name,
            "versions": [VERSION],
            "platform": self.platform,
            "inputs": [_tensor(*tensor) for tensor in INPUTS],
            "outputs": [_tensor(*tensor) for tensor in OUTPUTS],
        }

    def config(self) -> dict[str, Any]:
        """What Triton calls the model's configuration, as far as its clients ask for it."""
        return {
            "name": self.name,
            "platform": self.platform,
            "backend": SERVER,
            "max_batch_size": 0,  # the batch is the tensors' own first axis
            "input": [_config(*tensor, optional=True) for tensor in INPUTS],
            "output": [_config(*tensor, optional=False) for tensor in OUTPUTS],
        }


def _tensor(name: str, datatype: str, shape: list[int]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape}


def _config(name: str, datatype: str, shape: list[int], *, optional: bool) -> dict[str, Any]:
    kind = {"name": name, "data_type": f"TYPE_{'STRING' if datatype == 'BYTES' else datatype}", "dims": shape}
    return {**kind, "optional": True} if optional else kind


class Models:
    """Loads the models that a server offers.

    Raises:
        UfaError: As `Fuser`, for any of them; those before it are closed.
    """

    def __init__(self, options: ServeOptions) -> None:
        self._by_name: dict[str, Loaded] = {}
        with ExitStack() as opened:
            for spec in options.specs:
                given = {**options.fuser, **({"precision": spec.precision} if spec.precision else {})}
                fuser = opened.enter_context(Fuser(spec.model, **given))
                for size in options.warm:
                    fuser.prepare(size)
                self._by_name[spec.name] = Loaded(spec.name, fuser, options.batch or most_pairs(fuser))
            self._opened = opened.pop_all()

    def __iter__(self) -> Iterator[Loaded]:
        return iter(self._by_name.values())

    def named(self, name: str, version: str = "") -> Loaded:
        """The model that is called so. Raises: Refusal (404) when there is none."""
        found = self._by_name.get(name)
        if found is None:
            raise Refusal(f"no model is called {name!r}: there are {', '.join(self._by_name)}.", 404)
        if version not in ("", VERSION):
            raise Refusal(f"{name} has the version {VERSION} alone, not {version!r}.", 404)
        return found

    def for_frames(self, count: int) -> Loaded:
        """The model for so many frames where none is named: the first; for more than two the first that takes stacks."""
        models = list(self)
        return next((loaded for loaded in models if count > 2 and loaded.fuser.gathers), models[0])

    def for_lights(self) -> Loaded | None:
        """The model for pairs whose clipped levels mislead one for pairs, where none is named; None where there is none."""
        return next((loaded for loaded in self if loaded.fuser.gathers), None)

    def close(self) -> None:
        """Free the engines."""
        self._opened.close()


def server_metadata() -> dict[str, Any]:
    """The protocol's server metadata."""
    return {"name": SERVER, "version": tool_versions().get("ufafuse", ""), "extensions": list(EXTENSIONS)}
