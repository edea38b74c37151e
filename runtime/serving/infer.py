"""Inference by the Open Inference Protocol: what REST and gRPC have in common."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ufafuse.runtime.arrays import Array
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.frames import check_frames
from ufafuse.runtime.pictures.write import WriteOptions
from ufafuse.runtime.serving.admission import Ticket
from ufafuse.runtime.serving.asking import Asked, asked_from
from ufafuse.runtime.serving.models import Loaded
from ufafuse.runtime.serving.pictures import Brought, Upload
from ufafuse.runtime.serving.service import Made, Service
from ufafuse.runtime.serving.tensors import Output, SentTensor, frames_of

# Of Triton's clients, for schedulers that are not ours; `binary_data_output` is REST's.
_PASSED_OVER = frozenset(
    ("sequence_id", "sequence_start", "sequence_end", "priority", "binary_data_output", "triton_enable_empty_final_response")
)
_MICROSECOND = 1e-6
_GIVEN = ("fused", "map", "image")
_MOST_PAIRS = 256  # of one request


@dataclass
class Inference:
    """One request of the protocol.

    Args:
        model, version, id: As the client gave them.
        inputs: Its tensors.
        parameters: Its options.
        wanted: The outputs asked for; empty: as the inputs are.
    """

    model: str
    version: str = ""
    id: str = ""
    inputs: list[SentTensor] = field(default_factory=list)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    wanted: list[str] = field(default_factory=list)

    @property
    def asked(self) -> Asked:
        """The options. Raises: InputError."""
        own = {name: value for name, value in self.parameters.items() if name not in _PASSED_OVER}
        return asked_from(own, timeout_unit=_MICROSECOND)


@dataclass
class Inferred:
    """The answer: the model, its version, the tensors, and the report of each fusion as JSON."""

    model: str
    outputs: list[Output]
    reports: list[dict[str, Any]]

    @property
    def parameters(self) -> dict[str, str]:
        """What was decided, as the protocol's parameters can hold it."""
        return {"report": json.dumps(self.reports[0] if len(self.reports) == 1 else self.reports)}


async def infer(service: Service, request: Inference, loaded: Loaded, asked: Asked, ticket: Ticket, until: float) -> Inferred:
    """Answer one request.

    Args:
        service: That fuses.
        request: As it came.
        loaded: The model.
        asked: The request's options.
        ticket: Of the request.
        until: The deadline, by `time.monotonic`.

    Raises:
        InputError: Tensors or options that cannot be used.
        Refusal: No room, no time.
        UfaError: As `Service.fused`.
    """
    tensors = _by_name(request.inputs)
    if unknown := [name for name in request.wanted if name not in _GIVEN]:
        raise InputError(f"there is no output {unknown[0]!r}: ask for any of {', '.join(_GIVEN)}.")
    if len(request.wanted) > len(set(request.wanted)):  # each would be made and held once more
        raise InputError("an output is asked for twice: name each once.")
    if set(tensors) == {"images"}:
        elements = await service.in_pool(tensors["images"].elements)
        uploads = [Upload(f"image {number}", data) for number, data in enumerate(elements, start=1)]
        wanted = request.wanted or ["image"]
        batch, brought = False, [await service.brought(loaded, uploads, asked, ticket, want_map="map" in wanted)]
    elif set(tensors) == {"near", "far"}:
        batch, brought = await service.in_pool(lambda: _pairs(tensors["near"], tensors["far"], asked, loaded))
        wanted = request.wanted or ["fused"]
    else:
        raise InputError(f"the inputs are {', '.join(tensors) or 'none'}: send near and far (tensors), or images (BYTES).")
    if "image" not in wanted and (asked.format or asked.store != WriteOptions()):
        raise InputError("`format`, `quality` and `compression` are about the output image: ask for that, or omit them.")
    made = await _all_fused(service, loaded, brought, until, want_map="map" in wanted)
    outputs = [await _output(service, name, made, asked, batch=batch) for name in wanted]
    return Inferred(loaded.name, outputs, [one.report() for one in made])


async def _all_fused(service: Service, loaded: Loaded, brought: list[Brought], until: float, *, want_map: bool) -> list[Made]:
    """All pairs of a request wait together, so that they may be fused together; where one fails none is left behind."""
    tasks = [asyncio.ensure_future(service.fused(loaded, one, until, want_map=want_map)) for one in brought]
    try:
        if tasks:  # not `gather`, see `unless_gone`
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
        return [task.result() for task in tasks]
    finally:
        for task in tasks:
            task.cancel()
            task.add_done_callback(_seen)


def _seen(task: asyncio.Task[Made]) -> None:
    """Ask a task for its error, or its end is complained of."""
    if not task.cancelled():
        task.exception()


def _by_name(tensors: list[SentTensor]) -> dict[str, SentTensor]:
    found: dict[str, SentTensor] = {}
    for tensor in tensors:
        if tensor.name in found:
            raise InputError(f"two inputs are called {tensor.name!r}.")
        found[tensor.name] = tensor
    return found


def _pairs(near: SentTensor, far: SentTensor, asked: Asked, loaded: Loaded) -> tuple[bool, list[Brought]]:
    """Whether the tensors have an axis for pairs, and the pairs. Raises: InputError, also for what would fail when fused."""
    first, second = near.array(), far.array()
    if first.shape != second.shape or first.dtype != second.dtype:
        raise InputError(
            f"near is {near.datatype} {list(first.shape)}, far is {far.datatype} {list(second.shape)}: they have to be alike."
        )
    pairs: list[tuple[Array, Array]] = list(zip(frames_of(first, "near"), frames_of(second, "far"), strict=True))
    if len(pairs) > _MOST_PAIRS:
        raise InputError(f"{len(pairs)} pairs are in one request: send at most {_MOST_PAIRS}.")
    for pair in pairs:
        check_frames(pair, order=asked.options.order, white=asked.options.white, open_ended=True)
    brought = [Brought(list(pair), asked.options) for pair in pairs]
    if asked.options.align != "off" or asked.options.match_gain or asked.options.bayer is not None:
        for one in brought:
            one.look(loaded.fuser)
    return first.ndim == 4, brought


async def _output(service: Service, name: str, made: list[Made], asked: Asked, *, batch: bool) -> Output:
    if name == "image":
        return Output(name, [(await service.picture(one, asked))[0] for one in made])
    planes = [one.stacked.map for one in made] if name == "map" else [_as_asked(one, asked) for one in made]
    found = [plane for plane in planes if plane is not None]
    if not batch:
        return Output(name, found[0])
    if len({plane.shape for plane in found}) > 1:
        raise InputError("the pairs are cut to unlike sizes by `crop`: send them one by one.")
    return Output(name, np.stack(found))


def _as_asked(made: Made, asked: Asked) -> Array:
    """The result in the colour order that was asked for: pictures are decoded as BGR."""
    fused = made.stacked.fused
    if made.brought.options.order == asked.options.order or fused.ndim == 2 or fused.shape[2] < 3:
        return fused
    return np.ascontiguousarray(fused[..., [2, 1, 0, *range(3, fused.shape[2])]])
