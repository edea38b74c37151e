"""A network from its name or its file, and back: what builds it, and the weights file with its manifest."""

from pathlib import Path
from typing import Any

import torch

from ufafuse.network.base import Network
from ufafuse.network.init import initialise
from ufafuse.network.model import FusionNet
from ufafuse.network.spec import Spec, find_spec
from ufafuse.network.stacknet import StackNet
from ufafuse.runtime.artefact import Manifest, atomic_write, read_manifest, tool_versions
from ufafuse.runtime.errors import ModelError


def build_model(spec: Spec | str, *, init: str = "auto", seed: int | None = None) -> Network:
    """Build the network of a variant's name or spec and set its weights.

    Args:
        spec: A name in `SPECS`, or a `Spec` of one's own.
        init: How it starts, see `ufafuse.network.init`; "none" where weights are loaded next.
        seed: Draws the random weights reproducibly, without touching torch's global state; None takes that state.

    Raises:
        InputError: The name or the initialisation is unknown.
    """
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        described = find_spec(spec) if isinstance(spec, str) else spec
        net: Network = StackNet(described) if described.gathers else FusionNet(described)
        initialise(net, init)
    return net


def save_weights(net: Network, path: Path, *, extra: dict[str, Any] | None = None, force: bool = False) -> None:
    """Write the network's weights as `.safetensors` with their manifest, whole or not at all (`OutputError`)."""
    from safetensors.torch import save

    manifest = Manifest(
        kind="weights",
        variant=net.spec.name,
        precision="fp32",
        spec=net.spec.to_dict(),
        tools=tool_versions("torch", "safetensors"),
        extra=extra or {},
    )
    tensors = {name: tensor.detach().float().cpu().contiguous() for name, tensor in net.state_dict().items()}
    with atomic_write(path, force=force) as temporary:
        temporary.write_bytes(save(tensors, metadata=manifest.to_metadata()))  # what fails is an OSError, unlike save_file's


def load_weights(path: Path) -> Network:
    """Build the network that a weights file describes, with its weights, in evaluation mode on the CPU.

    Raises:
        InputError: There is no such file.
        ModelError: It is no weights file, is truncated, or its tensors are not finite or not those of its network.
    """
    from safetensors.torch import load

    path = Path(path)
    manifest = read_manifest(path)
    if manifest.kind != "weights":
        raise ModelError(f"{path} is of kind {manifest.kind!r}: give the .safetensors file written by `ufa train`.")
    net = build_model(Spec.from_dict(manifest.spec), init="none")
    try:
        tensors = load(path.read_bytes())
        net.load_state_dict(tensors)
    except Exception as error:  # safetensors' own error has no base class but this, and a crafted file can raise others
        raise ModelError(f"{path} does not hold the weights of {manifest.variant!r}: {error}.") from error
    broken = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
    if broken:
        raise ModelError(f"{path} holds NaN or infinity in {broken[0]}: train it again, or take an earlier file.")
    return net.eval()
