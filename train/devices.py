"""The devices and processes that a run trains on."""

import ctypes
import os
import platform
from typing import TYPE_CHECKING

import torch

from ufafuse.runtime.errors import BackendError, InputError
from ufafuse.runtime.machine import machine
from ufafuse.train.recipe import TrainOptions

if TYPE_CHECKING:
    from lightning_fabric import Fabric

# Parameters of mallopt(3), from glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def is_first_process() -> bool:
    """Return whether this is the one process of several that writes (all of them run the same command)."""
    return all(int(os.environ.get(name, "0")) == 0 for name in ("RANK", "NODE_RANK", "LOCAL_RANK"))


def bf16_is_fast(device: torch.device) -> bool:
    """Return whether the device computes in bf16; where it only emulates it, training would be far slower."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    features = machine()["features"]
    return device.type == "cpu" and bool(features.get("BF16") or features.get("AMX"))


def computes_in_bf16(options: TrainOptions, device: torch.device) -> bool:
    """Return whether the run's arithmetic is bf16 (autocast) on `device`."""
    return options.recipe.precision == "bf16" or (options.recipe.precision == "auto" and bf16_is_fast(device))


def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees, where the C library can be told so (glibc).

    glibc gives every large block back to the system at once, and each step of a training on the CPU then asks for the same
    gigabytes again, zeroed page by page. Measured on one core with AMX, two runs each in turn, in images a second: `ufa` 13.2
    and 14.3 without this, 21.1 and 20.4 with it. `ufa-edge` and `ufa-nano`, whose tensors are smaller, gain nothing.
    """
    if platform.libc_ver()[0] == "glibc":
        allocator = ctypes.CDLL(None)
        allocator.mallopt(_M_MMAP_MAX, 0)
        allocator.mallopt(_M_TRIM_THRESHOLD, -1)


def launched_fabric(options: TrainOptions) -> "Fabric":
    """Return Lightning Fabric on the devices asked for, with all its processes running.

    Raises:
        BackendError: The devices are not there.
        InputError: They do not divide the batch, or are not as many as the processes that torchrun started.
    """
    from lightning_fabric import Fabric

    asked, started = options.devices * options.nodes, int(os.environ.get("WORLD_SIZE", "0"))
    if started not in (0, asked):
        raise InputError(
            f"{started} processes were started, for {options.devices} devices on {options.nodes} machines: "
            "give --devices (on each machine) and --nodes as you gave them to torchrun."
        )
    on_gpu = options.device == "cuda" or (options.device == "auto" and torch.cuda.is_available())
    device = torch.device("cuda" if on_gpu else "cpu")
    bf16 = computes_in_bf16(options, device)
    try:
        fabric = Fabric(
            accelerator=device.type,
            devices=options.devices,
            num_nodes=options.nodes,
            strategy="ddp" if asked > 1 else "auto",
            precision="bf16-mixed" if bf16 else "32-true",
        )
        fabric.launch()
    except (RuntimeError, ValueError) as error:
        raise BackendError(f"{options.devices} x {device.type} were asked for, but: {error}") from error
    if options.recipe.batch % fabric.world_size:
        raise InputError(f"batches of {options.recipe.batch} cannot be shared by {fabric.world_size} devices equally.")
    return fabric
