"""Who is compared: a folder of fused pictures, a classical method, or a model. Each gives one picture for one pair."""

import re
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from ufafuse.benchmarks.frames import alike
from ufafuse.benchmarks.methods import is_rival, method, methods
from ufafuse.benchmarks.published import AUTHORS, GIVEN, MEASURED, OURS
from ufafuse.network.spec import RIVALS, Spec
from ufafuse.runtime.arrays import Array
from ufafuse.runtime.artefact import read_manifest
from ufafuse.runtime.errors import InputError, UfaError
from ufafuse.runtime.filebytes import real_path
from ufafuse.runtime.fuser import Fuser
from ufafuse.runtime.images import read_image
from ufafuse.runtime.models import DEFAULT, bundled
from ufafuse.runtime.pairs import PairPaths, is_image

_ALL = "all"


class FusedPicture(NamedTuple):
    """A fused picture; how long the fusion took, in ms (None where it was not made here); what there is to tell of its file."""

    picture: Array
    ms: float | None
    told: tuple[str, ...] = ()


class Contestant(ABC):
    """Something that has a fused picture for a pair.

    Attributes:
        name: The row's name.
        in_worker: Whether `fused` may run in another process. A model stays in this one, so that its engine is loaded once and
            has all cores.
    """

    name: str
    in_worker: bool = True

    @property
    def kind(self) -> str:
        """What its row is, a key of `published.KINDS`."""
        return MEASURED

    @abstractmethod
    def fused(self, pair: PairPaths, near: Array, far: Array) -> FusedPicture:
        """The fused picture of ``pair``, whose frames are ``near`` and ``far``. Raises: UfaError."""

    def facts(self) -> dict[str, Any]:
        """Of a network, what it ran on and its ``parameters``; empty for anything else."""
        return {}

    def close(self) -> None:
        """Free what it holds."""


@dataclass(frozen=True)
class FolderContestant(Contestant):
    """Fused pictures that lie in ``folder``, one for each pair, under the pair's name.

    Args:
        name: The row's name.
        folder: Where they are.
        names: Of all pairs or stacks: what several of them could be called by a picture's name alone, none of them is.
    """

    name: str
    folder: Path
    names: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """Pictures that were given."""
        return GIVEN

    def fused(self, pair: PairPaths, near: Array, far: Array) -> FusedPicture:  # noqa: ARG002 - the picture is there already
        """Read the pair's picture. Raises: InputError when there is none, or more than one."""
        told: dict[str, None] = {}
        picture = read_image(self.find(pair.name, "pair"), told=told)
        return FusedPicture(picture, None, tuple(told))

    def find(self, name: str, what: str) -> Path:
        """The picture of the pair or stack (``what``) of this name.

        That is the one at its own place (`_place`), as `ufa fuse` writes it; else the one of its name in any folder; else one
        whose name differs in what people vary.

        Raises:
            InputError: There is none, or more than one.
        """
        pictures = [path for path in sorted(self.folder.rglob("*")) if is_image(path)]
        found = [path for path in pictures if _place(path, self.folder) == name]
        for short in (_base, _plain_base, _plain) if not found else ():
            if sum(short(other) == short(name) for other in {name, *self.names}) > 1:
                continue  # it is another one's as well
            found = [path for path in pictures if short(path.stem) == short(name)]
            if found:
                break
        if len(found) != 1:
            count = "no picture" if not found else f"{len(found)} pictures"
            raise InputError(f"{self.folder} holds {count} of {what} {name}: name it {name}.png.")
        return found[0]


def _place(path: Path, folder: Path) -> str:
    """Where a picture lies below a folder, without its suffix: what the pair that `ufa fuse` wrote there is called."""
    return path.relative_to(folder).with_suffix("").as_posix()


def _base(name: str) -> str:
    """A name without the folders before it."""
    return Path(name).name


def _plain_base(name: str) -> str:
    return _plain(_base(name))


def _plain(name: str) -> str:
    """A name without what people vary: case, separators, and a trailing ``fused``."""
    return re.sub(r"[-_ ./]", "", name.lower()).removesuffix("fused")


@dataclass(frozen=True)
class MethodContestant(Contestant):
    """A method by its name."""

    name: str

    @property
    def kind(self) -> str:
        """Of a network of the paper's tables: with our weights."""
        return OURS if is_rival(self.name) else MEASURED

    def facts(self) -> dict[str, Any]:
        """Of a network of the paper's tables: PyTorch, and that its weights are ours."""
        if not is_rival(self.name):
            return {}
        from ufafuse.network.rivals.places import rival_weights

        return {"backend": "torch", "precision": "fp32", "weights": "ours"} | size_facts(rival_weights(self.name))

    def fused(self, pair: PairPaths, near: Array, far: Array) -> FusedPicture:  # noqa: ARG002 - all that counts are the frames
        """Run the method."""
        chosen = method(self.name)
        start = time.perf_counter()
        picture = chosen.fuse(near, far)
        return FusedPicture(picture, (time.perf_counter() - start) * 1e3)


class AuthorsContestant(Contestant):
    """A network of the paper's tables with weights of a file, as a rule its authors'."""

    in_worker = False

    def __init__(self, rival: str, weights: Path, *, threads: int | None) -> None:
        from ufafuse.benchmarks.methods.rivals import loaded, rival_method

        loaded(rival, weights)  # what is wrong with the file is said now
        if threads is not None:
            import torch

            torch.set_num_threads(threads)
        self._method, self._rival, self._weights = rival_method(rival, weights), rival, weights
        self.name = f"{rival}-{weights.stem}"

    @property
    def kind(self) -> str:
        """Its authors' weights, as a rule; but .safetensors, which `ufa train` writes, are not."""
        return OURS if self._weights.suffix == ".safetensors" else AUTHORS

    def fused(self, pair: PairPaths, near: Array, far: Array) -> FusedPicture:  # noqa: ARG002 - all that counts are the frames
        """Run the network and what its paper does afterwards."""
        start = time.perf_counter()
        picture = self._method.fuse(near, far)
        return FusedPicture(picture, (time.perf_counter() - start) * 1e3)

    def facts(self) -> dict[str, Any]:
        """PyTorch, and whose weights."""
        from ufafuse.benchmarks.methods.rivals import loaded

        count = loaded(self._rival, self._weights).spec.parameters
        return {"backend": "torch", "precision": "fp32", "weights": self._weights.name, "parameters": count}


class ModelContestant(Contestant):
    """A network, by its bundled name or its file."""

    in_worker = False

    def __init__(self, model: str, *, backend: str, precision: str | None, threads: int | None) -> None:
        self._fuser = Fuser(model, backend=backend, precision=precision, threads=threads)
        self.name = self._fuser.model.stem  # the file's, so that NAME with --precision int8 is told apart from NAME
        self.backend, self.precision = self._fuser.backend, self._fuser.precision

    @property
    def kind(self) -> str:
        """Of a bundled network: with our weights. Who trained a file is not known."""
        return OURS if self.name in bundled() else MEASURED

    def facts(self) -> dict[str, Any]:
        """The engine, its arithmetic, and how many numbers the network has learnt where its file says."""
        return {"backend": self.backend, "precision": self.precision} | size_facts(self._fuser.model)

    def fused(self, pair: PairPaths, near: Array, far: Array) -> FusedPicture:  # noqa: ARG002 - all that counts are the frames
        """Run the network on the frames as they are."""
        frames = alike(near, far)
        start = time.perf_counter()
        picture = self._fuser.fuse(*frames)
        return FusedPicture(picture, (time.perf_counter() - start) * 1e3)

    def close(self) -> None:
        """Free the engine."""
        self._fuser.close()


def size_facts(model: Path) -> dict[str, int]:
    """``parameters`` of a model's file; empty where it does not describe its network."""
    try:
        described = read_manifest(model).spec
    except UfaError:
        return {}
    return {"parameters": Spec.from_dict(described).parameters} if described else {}


def contestants(
    *,
    fused: list[Path],
    models: list[str],
    method_names: list[str],
    backend: str = "auto",
    precision: str | None = None,
    threads: int | None = None,
    weights: Path | None = None,
    names: Sequence[str] = (),
) -> list[Contestant]:
    """Everything that the user asked to compare, once; the bundled network when nothing was asked for.

    Args:
        fused: Folders of pictures; one that only holds folders stands for all of those, unless they are the pairs' own.
        models: Bundled names, files, or networks of the paper's tables (``"rival-..."``).
        method_names: Methods, bundled networks, or ``"all"`` for every method that can run here.
        backend, precision, threads: For the models.
        weights: Of the one network of the paper's tables among the models: a file of its authors.
        names: Of all pairs, chosen or not, so that each picture is taken for the one that it is of.

    Raises:
        InputError: A name is not known, a folder is missing, or two would have the same name.
        ModelError, BackendError: A model cannot be loaded.
    """
    found: list[Contestant] = [one for folder in fused for one in fused_folders(folder, names=names)]
    networks, rivals = bundled(), _rivals_among(models, weights)
    asked_for = [name for asked in method_names for name in (list(methods()) if asked == _ALL else [asked])]
    asked_for = once(asked_for if weights else [*asked_for, *rivals])
    check_names(asked_for, [*methods(), *networks])
    found += [MethodContestant(name) for name in asked_for if name not in networks]
    found += [AuthorsContestant(name, weights, threads=threads) for name in rivals if weights]
    models = once([*(name for name in models if name not in rivals), *(name for name in asked_for if name in networks)])
    if not found and not models:
        models = [DEFAULT]
    refuse_idle([*models, *(rivals if weights else [])], backend=backend, precision=precision, threads=threads)
    found += [ModelContestant(model, backend=backend, precision=precision, threads=threads) for model in models]
    return list(distinct(found))


def check_names(names: Iterable[str], known: Sequence[str]) -> None:
    """Raises: InputError, where one is neither ``known`` nor a network of the paper's tables that can run here."""
    for name in names:
        if is_rival(name):
            method(name)  # raises what it lacks
        elif name not in known:
            raise InputError(f"`methods={name}` is not known: choose from {', '.join(known)}, or all.")


def refuse_idle(models: list[str], *, backend: str, precision: str | None, threads: int | None) -> None:
    """Raises: InputError, where something is asked of networks and none is compared."""
    for name, value, usual in (("backend", backend, "auto"), ("precision", precision, None), ("threads", threads, None)):
        if value != usual and not models:
            raise InputError(f"`{name}={value}` is about networks, and none is compared: omit it, or name one.")


def _rivals_among(models: list[str], weights: Path | None) -> list[str]:
    """Raises: InputError where one is not known, or ``weights`` are not for exactly one of them."""
    rivals = [model for model in models if is_rival(model)]
    for model in models:
        if model.startswith("rival-") and model not in rivals and not Path(model).suffix:
            raise InputError(f"`model={model}` is not known: choose from {', '.join(RIVALS)}.")
    if weights is not None and len(rivals) != 1:
        raise InputError(f"`weights={weights}` is for one network of the paper's tables: name it, as in `model=rival-ifcnn`.")
    return rivals


def fused_folders(folder: Path, what: str = "pair", *, names: Sequence[str] = ()) -> list[FolderContestant]:
    """The folders that ``--fused`` names: itself where it holds pictures of pairs or stacks (``what``), else those in it.

    Args:
        folder: What was named.
        what: "pair" or "stack".
        names: Of all of them. Where a picture lies at the place of one, the folders are theirs: ``line1/`` of ``line1/0001``.

    Raises:
        InputError: There is none.
    """
    if not folder.is_dir():
        raise InputError(f"`fused={folder}` is not a folder: give one that holds a fused picture for each {what}.")
    own = set(names)
    if any(is_image(path) for path in folder.iterdir()) or any(
        is_image(path) and _place(path, folder) in own for path in (folder.rglob("*") if own else ())
    ):
        parts = [folder]
    else:
        parts = [part for part in sorted(folder.iterdir()) if part.is_dir() and any(map(is_image, part.rglob("*")))]
    if not parts:
        mend = (
            "give the folder that `ufa fuse --pairs` wrote" if what == "pair" else f"name a picture for each {what}, NAME.png"
        )
        raise InputError(f"`fused={folder}` holds no picture: {mend}.")
    # A row is called after the folder, however it was named: "." has no name, ".." none that a result can have.
    called = {part: part.name if part.name not in ("", "..") else real_path(part).name for part in parts}
    return [FolderContestant(called[part], part, tuple(names)) for part in parts]


class _Named(Protocol):
    name: str


Kind = TypeVar("Kind", bound=_Named)


def once(names: Iterable[str]) -> list[str]:
    """What was named, in order: a method named twice, as in ``all,lap``, is compared once."""
    return list(dict.fromkeys(names))


def distinct(found: Iterable[Kind]) -> Iterator[Kind]:
    """Each of them. Raises: InputError where two have one name."""
    seen: set[str] = set()
    for contestant in found:
        if contestant.name in seen:
            raise InputError(f"two things to compare have the name {contestant.name}: rename a file or a folder.")
        seen.add(contestant.name)
        yield contestant
