"""`ufa verify`: any artefact against the PyTorch weights it came from, on real pairs."""

import copy
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ufafuse.export.kept_cases import KeptCases
from ufafuse.export.stack_check import StackRun, stack_cases
from ufafuse.export.synthetic import synthetic_pair
from ufafuse.export.tile_check import TileRun
from ufafuse.network.base import Network
from ufafuse.network.spec import RivalSpec, Spec
from ufafuse.network.weights import load_weights
from ufafuse.runtime.arrays import Bytes
from ufafuse.runtime.artefact import Manifest, read_manifest, sha256_of
from ufafuse.runtime.callbacks import ignored
from ufafuse.runtime.checks.cases import (
    Averages,
    Case,
    Findings,
    Run,
    Weigh,
    bgr_levels,
    describe_profiles,
    save_reference,
    serves,
    verify_cases,
)
from ufafuse.runtime.errors import InputError, ModelError
from ufafuse.runtime.fixed import fixed_size
from ufafuse.runtime.frames import check_pair
from ufafuse.runtime.images import read_image
from ufafuse.runtime.manifest_entries import STACK_ROLES, TILE_ROLES
from ufafuse.runtime.memory.room import check_room
from ufafuse.runtime.packing import to_planes
from ufafuse.runtime.pairs import PairPaths, find_pairs
from ufafuse.runtime.parameters import Size
from ufafuse.runtime.session import SessionOptions
from ufafuse.runtime.writing import check_new, check_parent

# Small, so that the package travels with a model; odd and unequal, so that a fixed size shows.
REFERENCE_SIZES: tuple[Size, ...] = ((96, 128), (97, 131), (64, 64), (130, 97))
_TO_DRAW = 48  # bytes a pixel, of a synthetic pair
_A_CHANNEL = 64  # bytes a pixel, see `_bytes_a_pixel`
_OF_A_PAIR = 36  # bytes a pixel: two frames and what comes of them in float32
_SYNTHETIC_SIZES: tuple[Size, ...] = ((260, 260), (131, 97), (64, 320))
_SHOWS_ENOUGH = 1 << 18  # pixels of a pair; the larger ones take PyTorch seconds each in float64


@dataclass(frozen=True)
class References:
    """What an artefact is held against, computed once for every engine.

    Args:
        artefact, weights: The two files.
        net: The network of the weights.
        cases: The pairs, and what PyTorch makes of them.
        told: What there is to tell of the pairs' files.
        run, weigh, averages: How a case is run, gives its map, and its averages are judged, see `verify_cases`.
    """

    artefact: Path
    weights: Path
    net: Network
    cases: Sequence[Case]
    run: Run | None
    weigh: Weigh | None = None
    averages: Averages | None = None
    told: dict[str, None] = field(default_factory=dict)

    def on(
        self, backend: str, options: SessionOptions | None = None, done: Callable[[dict[str, Any]], None] = ignored
    ) -> Findings:
        """Run the artefact on one engine and judge it. Raises: as `open_artefact`; BackendError."""
        from ufafuse.export.formats.opening import open_artefact

        with open_artefact(self.artefact, backend=backend, options=options) as session:
            return verify_cases(
                session,
                self.cases,
                artefact=self.artefact,
                reference=self.weights,
                run=self.run,
                weigh=self.weigh,
                averages=self.averages,
                done=done,
            )


def prepared(
    artefact: Path,
    weights: Path,
    *,
    pairs: Path | None = None,
    sizes: Sequence[Size] = (),
    max_pairs: int | None = None,
) -> References:
    """Compute with PyTorch what an artefact is to give; arguments and errors as `verify_against_weights`."""
    manifest = read_manifest(artefact)
    check_lineage(artefact, manifest, weights)
    sizes = list(sizes) or _own_sizes(manifest)
    for size in sizes:
        if not serves(manifest, size):
            raise InputError(f"{artefact} does not serve {size[0]}x{size[1]}, but {describe_profiles(manifest)}.")
    net = load_weights(weights)
    check_references("size", sizes, net.spec)
    wanted = sizes if pairs is not None else _enough(sizes)
    frames = load_pairs(pairs, sizes=wanted, max_pairs=max_pairs, told=(told := dict[str, None]()))
    of_stacks = manifest.role in STACK_ROLES
    cases = KeptCases((stack_cases if of_stacks else reference_cases)(net, frames, noise=manifest.precision == "fp32"))
    if manifest.role in TILE_ROLES:
        tiles = TileRun(net)
        return References(artefact, weights, net, cases, tiles, tiles.weight, tiles.averages, told)
    return References(artefact, weights, net, cases, StackRun(net) if of_stacks else None, told=told)


def verify_against_weights(
    artefact: Path,
    weights: Path,
    *,
    pairs: Path | None = None,
    sizes: Sequence[Size] = (),
    max_pairs: int | None = None,
    backend: str = "auto",
    options: SessionOptions | None = None,
    done: Callable[[dict[str, Any]], None] = ignored,
) -> Findings:
    """Run an artefact and PyTorch in float32 on the same pairs and judge the distance by the table of tolerances.

    Args:
        artefact: A model file of any format that can be run here. Of a graph for stacks or for tiles, the picture that comes
            of it is judged (`ufafuse.export.stack_check`, `ufafuse.export.tile_check`).
        weights: The ``.safetensors`` file that it came from.
        pairs: A folder of pairs; None: synthetic ones, three at least unless they are large.
        sizes: (height, width) to cut from the middle of each pair; by default the whole frames, for an engine its
            profiles' best sizes, for a file of fixed sizes its own.
        max_pairs: Take only so many pairs, spread over the folder.
        backend, options: As `open_session`.
        done: Called with each pair's row.

    Raises:
        ModelError: The artefact came from other weights, or a file is broken.
        InputError: A pair is smaller than a size, an engine does not serve a size, or there are no pairs.
        BackendError: The engine is missing or fails.
    """
    return prepared(artefact, weights, pairs=pairs, sizes=sizes, max_pairs=max_pairs).on(backend, options, done)


def check_lineage(artefact: Path, manifest: Manifest, weights: Path) -> None:
    """Raises: ModelError unless the artefact was made from exactly these weights."""
    found = sha256_of(weights) if weights.is_file() else ""
    if not found:
        raise InputError(f"{weights} is not a file: give the .safetensors that {artefact.name} was exported from.")
    if manifest.weights_sha256 != found:
        raise ModelError(
            f"{artefact} was made from other weights ({manifest.weights_sha256[:12] or 'none'}) than {weights} "
            f"({found[:12]}): give its own weights, or export it again."
        )


def check_references(option: str, sizes: Iterable[Size], spec: Spec | RivalSpec, *, batch: int = 1) -> None:
    """Refuse sizes, and batches of them, for which this machine has no memory to compute what PyTorch makes of them.

    Args:
        option: That the sizes were given as.
        sizes: (height, width) each.
        spec: Of the network.
        batch: Pairs at once.

    Raises:
        InputError: It says how much they would take, and how much is left.
    """
    of_frames = "what PyTorch makes of a pair of that size" if batch == 1 else f"a batch of {batch} pairs of that size"
    for height, width in sizes:
        need = height * width * max(_bytes_a_pixel(spec), _OF_A_PAIR * batch)
        check_room(f"{option}={height}x{width}", of_frames, need)


def _bytes_a_pixel(spec: Spec | RivalSpec) -> float:
    """What PyTorch takes at least, beside the frames as they are drawn: so many bytes for each channel of its finest scale.

    `ufa-nano` was measured at 95 a channel in float32, and 350 where float64 is computed too, `ufa` at 195 with that.
    """
    finest = 0.0 if isinstance(spec, RivalSpec) else spec.widths[0] / spec.fold**2
    return _TO_DRAW + _A_CHANNEL * finest


def _own_sizes(manifest: Manifest) -> list[Size]:
    profiles: list[dict[str, list[int]]] = manifest.extra.get("profiles", [])
    only = fixed_size(manifest)
    return [only] if only is not None else [(profile["opt"][0], profile["opt"][1]) for profile in profiles]


def _enough(sizes: list[Size]) -> list[Size]:
    """Sizes to draw pairs of, as many as for a file of free sizes: one small pair shows too little of what can be wrong."""
    small = [(height, width) for height, width in sizes if height * width <= _SHOWS_ENOUGH]
    return [*sizes, *itertools.islice(itertools.cycle(small), max(0, len(_SYNTHETIC_SIZES) - len(sizes)))]


def load_pairs(
    folder: Path | None, *, sizes: Sequence[Size] = (), max_pairs: int | None = None, told: dict[str, None] | None = None
) -> Iterator[tuple[str, Bytes, Bytes]]:
    """(name, near, far) of each pair and size: H x W x 3 uint8, BGR, cut from the middle; ``told`` as `read_image` takes it.

    Raises:
        InputError: A frame is no 8-bit colour image, or smaller than a size.
    """
    if folder is None:
        drawn = sizes or _SYNTHETIC_SIZES
        for seed, (height, width) in enumerate(drawn):
            before = drawn[:seed].count((height, width))
            again = f" ({before + 1})" if before else ""
            yield f"synthetic {height}x{width}{again}", *synthetic_pair(height, width, seed=seed)
        return
    found = find_pairs(folder)
    if max_pairs is not None and max_pairs < len(found):
        found = [found[index * len(found) // max_pairs] for index in range(max_pairs)]
    for pair in found:
        near, far = read_frames(pair, told)
        for size in sizes or [(near.shape[0], near.shape[1])]:
            yield pair.name, _middle(near, size, pair.name), _middle(far, size, pair.name)


def check_read(pairs: Iterable[object]) -> None:
    """Read pairs for nothing but what is wrong with one of them, to say it before the minutes that an export takes."""
    deque(pairs, maxlen=0)


def read_frames(pair: PairPaths, told: dict[str, None] | None = None) -> tuple[Bytes, Bytes]:
    """Near and far of a pair, H x W x 3 uint8, BGR; ``told`` as `read_image` takes it.

    Raises:
        InputError: One is not that, or both differ in size.
    """
    near, far = (_colour(path, told) for path in (pair.near, pair.far))
    try:
        check_pair(near, far)
    except InputError as error:
        raise InputError(f"{pair.near} and {pair.far}: {error}") from error
    return near, far


def _colour(path: Path, told: dict[str, None] | None) -> Bytes:
    image = read_image(path, told=told)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise InputError(f"{path} is {image.dtype} of shape {image.shape}: models are verified on 8-bit colour frames.")
    return image


def _middle(image: Bytes, size: Size, name: str) -> Bytes:
    top, left = (image.shape[0] - size[0]) // 2, (image.shape[1] - size[1]) // 2
    if top < 0 or left < 0:
        raise InputError(f"pair {name} is {image.shape[0]}x{image.shape[1]}, smaller than the asked {size[0]}x{size[1]}.")
    return np.ascontiguousarray(image[top : top + size[0], left : left + size[1]])


def reference_cases(net: Network, pairs: Iterable[tuple[str, Bytes, Bytes]], *, noise: bool) -> Iterator[Case]:
    """What PyTorch in float32 makes of each pair; with ``noise`` also how far its float32 is from its float64."""
    exact = copy.deepcopy(net).double() if noise else None
    other = copy.deepcopy(net).to(memory_format=torch.channels_last) if noise else net  # type: ignore[call-overload]  # not annotated
    for name, near, far in pairs:
        kind = check_pair(near, far)
        tensors = [torch.from_numpy(to_planes(frame, kind)) for frame in (near, far)]
        with torch.inference_mode():
            own = net.forward_with_map(*tensors)
            errors = (0.0, 0.0) if exact is None else _noise(exact, other, tensors, own)
        yield Case(name, near, far, bgr_levels(own[0].numpy()), errors[0], own[1][0, 0].numpy(), errors[1])


def _noise(
    exact: Network, other: Network, tensors: Sequence[torch.Tensor], own: tuple[torch.Tensor, torch.Tensor]
) -> tuple[float, float]:
    """How far PyTorch's float32 lies from its float64, in levels: at most, and in either of its orders of summation.

    Of the fused picture, and of the frames mixed by the map. One order can be close by luck: on a checkerboard the paper's
    network was 0.0005 levels away in the usual layout, 0.003 in channels-last, and 0.004 without oneDNN.
    """
    truth = exact.forward_with_map(*(tensor.double() for tensor in tensors))
    again = other.forward_with_map(*(tensor.to(memory_format=torch.channels_last) for tensor in tensors))
    apart = tensors[0] - tensors[1]  # a weight that is off by so much moves what is mixed by as much of this
    fused = max(float((truth[0] - result[0]).abs().max()) for result in (own, again))
    mixed = max(float(((truth[1] - result[1]) * apart).abs().max()) for result in (own, again))
    return fused * 255, mixed * 255


def packed_pairs(
    pairs: Path | None, sizes: Sequence[Size], told: dict[str, None] | None = None
) -> Iterator[tuple[str, Bytes, Bytes]]:
    """(name, near, far) of a pair for each size, as `load_pairs` gives them; of a folder each has another pair, in turn."""
    if pairs is None:
        yield from load_pairs(None, sizes=sizes)
        return
    found = itertools.cycle(load_pairs(pairs, max_pairs=len(sizes), told=told))
    for size, (name, near, far) in zip(sizes, found, strict=False):
        yield name, _middle(near, size, name), _middle(far, size, name)


def check_packed(path: Path, weights: Path, sizes: Sequence[Size], *, force: bool, pairs: Path | None = None) -> Network:
    """Refuse a package that could not be made or written, before any work is spent. Raises: as `pack_reference`."""
    if path.suffix != ".npz":
        raise InputError(f"`reference={path}` must end in .npz.")
    check_parent(path)
    check_new(path, force=force)
    net = load_weights(weights)
    check_references("reference_size", sizes, net.spec)
    if pairs is not None:
        check_read(packed_pairs(pairs, sizes))
    return net


def pack_reference(
    weights: Path,
    path: Path,
    *,
    pairs: Path | None = None,
    sizes: Sequence[Size] = REFERENCE_SIZES,
    force: bool = False,
    told: dict[str, None] | None = None,
) -> None:
    """Pack PyTorch's results on a few small pairs into ``path``, for the gate on machines without PyTorch.

    Args:
        weights: A ``.safetensors`` file.
        path: Ends in ``.npz``.
        pairs: A folder of pairs, of which one is taken for each size; None: synthetic ones.
        sizes: (height, width) of each packed pair.
        force: Replace an existing file.
        told: Takes what there is to tell of the pairs' files, as `read_image` does.

    Raises:
        InputError: A wrong suffix, or a pair smaller than a size.
        OutputError: ``path`` cannot be written.
    """
    net = check_packed(path, weights, sizes, force=force)
    cases = reference_cases(net, packed_pairs(pairs, sizes, told), noise=True)
    save_reference(path, cases, variant=net.spec.name, weights_sha256=sha256_of(weights), force=force)
