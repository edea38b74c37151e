"""The devices and processes that a run trains on."""

import os
from typing import TYPE_CHECKING, Any

import torch

from ufafuse.runtime.errors import BackendError, InputError
from ufafuse.runtime.machine import machine
from ufafuse.train.recipe import TrainOptions

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from lightning_fabric.plugins import MixedPrecision


def is_first_process() -> bool:
    """Return whether this is the one process of several that writes (all of them run the same command)."""
    return all(int(os.environ.get(name, "0")) == 0 for name in ("RANK", "NODE_RANK", "LOCAL_RANK"))


def bf16_is_fast(device: torch.device) -> bool:
    """Return whether the device computes in bf16; where it only emulates it, training would be far slower."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    features = machine()["features"]
    return device.type == "cpu" and bool(features.get("BF16") or features.get("AMX"))


def device_of(options: TrainOptions) -> torch.device:
    """Return the kind of device that a run is asked to train on, or, where that is left open, the best there is."""
    on_gpu = options.device == "cuda" or (options.device == "auto" and torch.cuda.is_available())
    return torch.device("cuda" if on_gpu else "cpu")


def computes_in_bf16(options: TrainOptions, device: torch.device) -> bool:
    """Return whether the run's arithmetic is bf16 (autocast) on `device`."""
    return options.recipe.precision == "bf16" or (options.recipe.precision == "auto" and bf16_is_fast(device))


def _unrounded(device: torch.device) -> "MixedPrecision":
    """Return autocast to bf16 that hands on frames as they are.

    Fabric's own rounds them to bf16 before the network sees them, by up to half a level of 255, so that what is fused of
    them is never the truth: of the loss of ufa-nano that was 8 %.
    """
    from lightning_fabric.plugins import MixedPrecision

    class Unrounded(MixedPrecision):
        def convert_input(self, data: Any) -> Any:  # noqa: ANN401 - as Fabric has it
            return data

    return Unrounded("bf16-mixed", device.type)


def _check_started(fabric: "Fabric", options: TrainOptions) -> None:
    """Refuse several machines (`InputError`) where nothing tells this process of the others: it would wait for them."""
    from lightning_fabric.plugins.environments.lightning import LightningEnvironment

    told = getattr(fabric.strategy, "cluster_environment", None)  # torchrun's or SLURM's, where they started the process
    if options.nodes > 1 and isinstance(told, LightningEnvironment) and "MASTER_ADDR" not in os.environ:
        raise InputError(
            f"`nodes={options.nodes}`: no process was started on the other machines: start this same command on each of them "
            f"by torchrun (`torchrun --nnodes {options.nodes} --node-rank 0, 1, ... --master-addr HOST --nproc-per-node "
            f"{options.devices} -m ufafuse train ...`), or by SLURM's srun."
        )


def launched_fabric(options: TrainOptions) -> "Fabric":
    """Return Lightning Fabric on the devices asked for, with all its processes running.

    Raises:
        BackendError: The devices are not there.
        InputError: They do not divide the batch, are not as many as the processes that torchrun started, or are on several
            machines, and nobody started a process on each.
    """
    from lightning_fabric import Fabric

    asked, started = options.devices * options.nodes, int(os.environ.get("WORLD_SIZE", "0"))
    if started not in (0, asked):
        raise InputError(
            f"{started} processes were started, for {options.devices} devices on {options.nodes} machines: "
            "give `devices` (on each machine) and `nodes` as you gave them to torchrun."
        )
    device = device_of(options)
    bf16 = computes_in_bf16(options, device)
    try:
        fabric = Fabric(
            accelerator=device.type,
            devices=options.devices,
            num_nodes=options.nodes,
            strategy="ddp" if asked > 1 else "auto",
            plugins=[_unrounded(device)] if bf16 else [],
        )
        _check_started(fabric, options)
        fabric.launch()
    except (RuntimeError, ValueError) as error:
        raise BackendError(f"{options.devices} x {device.type} were asked for, but: {error}") from error
    if options.recipe.batch % fabric.world_size:
        raise InputError(f"batches of {options.recipe.batch} cannot be shared by {fabric.world_size} devices equally.")
    return fabric
