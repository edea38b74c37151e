"""What `ufa serve` is asked for."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ufafuse.runtime.errors import InputError
from ufafuse.runtime.memory.usage import total_bytes
from ufafuse.runtime.models import DEFAULT, STACKS, bundled
from ufafuse.runtime.pixels import most_pixels
from ufafuse.runtime.session import PRECISIONS
from ufafuse.runtime.stream.web.address import check_access

MB = 10**6
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_SHARE_WAITING = 0.25  # of the machine's memory, or half of the budget, for requests that wait


class ModelSpec(NamedTuple):
    """A model as it is named on the command line.

    Args:
        name: What requests call it.
        model: A bundled network's name or a model file, as `Fuser` takes it.
        precision: The arithmetic; None: as the preference says.
    """

    name: str
    model: str
    precision: str | None


def model_spec(text: str) -> ModelSpec:
    """A model from ``[NAME=]MODEL[@PRECISION]``.

    Args:
        text: Such as ``ufa-edge``, ``fast=ufa-nano@int8`` or ``board=models/board.engine``.

    Raises:
        InputError: The name cannot stand in an address, or the precision is not known.
    """
    name, given, model = text.partition("=")
    model = model if given else name
    model, at, precision = model.rpartition("@") if "@" in model else (model, "", "")
    if at and precision not in PRECISIONS:
        raise InputError(f"`model={text}`: the precision {precision!r} is not known: choose one of {', '.join(PRECISIONS)}.")
    name = name if given else f"{Path(model).stem if Path(model).suffix else model}{'-' + precision if at else ''}"
    if not _NAME.fullmatch(name) or not model:
        raise InputError(
            f"`model={text}` is no model: give NAME, FILE, or NAME=FILE with letters, digits and . _ - in the name."
        )
    return ModelSpec(name, model, precision or None)


@dataclass(frozen=True)
class ServeOptions:
    """How a server works.

    Args:
        address: Host and port of REST; port 0 takes any free one.
        grpc: Host and port of gRPC; None: it is not spoken.
        models: As `model_spec` takes them; none: the bundled networks for pairs and for stacks.
        token: What clients must know; needed for any address but loopback.
        certificate, key: PEM files for TLS; both or none.
        workers: Requests that are fused at once.
        queue: Requests that may wait beside them; more are refused.
        batch: Pairs of one size that are fused in one run; None: as `ufafuse.runtime.batch.most_pairs` says.
        deadline: Seconds that a request may take at most, from its first byte to its answer.
        grace: Seconds after the signal to end in which requests are still taken, for load balancers to notice.
        max_request: MB that a request may have.
        warm: Sizes (height, width) that the engines are made ready for before the first request.
        fuser: Further options of `Fuser`, for every model.

    Raises:
        InputError: Options that do not go together, or are out of range.
    """

    address: tuple[str, int] = ("127.0.0.1", 8000)
    grpc: tuple[str, int] | None = None
    models: tuple[str, ...] = ()
    token: str = ""
    certificate: Path | None = None
    key: Path | None = None
    workers: int = 1
    queue: int = 32
    batch: int | None = None
    deadline: float = 30.0
    grace: float = 0.0
    max_request: float = 256.0
    warm: tuple[tuple[int, int], ...] = ()
    fuser: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        for address in filter(None, (self.address, self.grpc)):
            check_access(address, self.token)
        if (self.certificate is None) != (self.key is None):
            raise InputError("TLS needs a certificate and its key: give both `tls_cert` and `tls_key`, or none.")
        for path in filter(None, (self.certificate, self.key)):
            if not path.is_file():
                raise InputError(f"{path} is not a file: give a certificate and its key as PEM files.")
        for name, value, least in (("workers", self.workers, 1), ("queue", self.queue, 0), ("batch", self.batch or 1, 1)):
            if value < least:
                raise InputError(f"`{name}={value}` is too little: give {least} or more.")
        for name, seconds in (("deadline", self.deadline), ("grace", self.grace), ("max_request", self.max_request)):
            if not math.isfinite(seconds) or seconds < 0 or (name != "grace" and seconds == 0):
                raise InputError(f"`{name}={seconds:g}` is out of range: give a number above 0.")
        if self.memory is not None and self.workers > 1:
            raise InputError("`max_memory` bounds one fusion at a time: omit it, or `workers`.")

    @property
    def memory(self) -> float | None:
        """The memory budget in MB."""
        found = self.fuser.get("max_memory")
        return None if found is None else float(found)

    @property
    def secure(self) -> bool:
        """Whether TLS is spoken."""
        return self.certificate is not None

    @property
    def specs(self) -> list[ModelSpec]:
        """The models, the default one first. Raises: InputError: as `model_spec`, or two of one name."""
        asked = self.models or (DEFAULT, *((STACKS,) if STACKS in bundled() else ()))
        specs = [model_spec(text) for text in asked]
        names = [spec.name for spec in specs]
        for name in names:
            if names.count(name) > 1:
                raise InputError(f"two models are called {name}: give each a name of its own, such as {name}-2=...")
        return specs

    @property
    def largest_request(self) -> int:
        """Bytes that a request may have."""
        return int(self.max_request * MB)

    @property
    def most_pixels(self) -> int:
        """Pixels that a picture may declare."""
        return most_pixels(self.memory)

    @property
    def room(self) -> int:
        """Bytes that requests under way may hold together, as they came and decoded."""
        share = total_bytes() * _SHARE_WAITING if self.memory is None else self.memory * MB / 2
        return max(1, int(share))
