"""Reading requests over HTTP: bounded, in time, and given up when the client goes."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from http import HTTPStatus
from typing import Any

import anyio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from ufafuse.runtime.errors import UfaError
from ufafuse.runtime.pictures.quick import reads_jpeg, writes_png
from ufafuse.runtime.serving.admission import Refusal, Ticket
from ufafuse.runtime.serving.service import ClientGone, Service, status_of

_DRAIN_SECONDS = 10.0
_GONE = 499  # nobody reads it

# What is imported where it is first used, since commands that do without start sooner.
_LATER = (
    "numpy.fft",
    "numpy.ma",
    "tifffile",
    "ufafuse.runtime.outputs",
    "ufafuse.runtime.pictures.microscopes",
    "ufafuse.runtime.pictures.tiff",
    "ufafuse.runtime.pictures.tiffwrite",
)

Handler = Callable[[Request, Ticket, dict[str, Any], float], Awaitable[Response]]


def load_for_requests() -> None:
    """Load now what the first requests would have loaded: files may have run out by then. Called on the event loop."""
    with anyio.fail_after(None):  # what it needs for this kind of loop
        pass
    for looked_for in (writes_png, reads_jpeg):  # a library that cannot be loaded then counts as not installed, for good
        looked_for()
    for module in _LATER:
        importlib.import_module(module)


def error(text: str, status: int, *, retry_after: int | None = None) -> Response:
    """The protocol's answer to what went wrong."""
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return JSONResponse({"error": text}, status, headers=headers)


async def served(request: Request, protocol: str, work: Handler) -> Response:
    """Answer a request that brings frames: let it in, do ``work`` within the deadline, count it.

    Args:
        request: As it came.
        protocol: How it is counted.
        work: Given the request, its ticket, the entry that it is counted by, and when it began.
    """
    service: Service = request.app.state.service
    begun = time.monotonic()
    # Who asks first and is refused has sent nothing: reading would be the word to send it.
    sent = request.headers.get("Expect", "").lower() != "100-continue"
    try:
        with service.counted(protocol, begun) as entry, service.admission.entered(_declared(request, service)) as ticket:
            sent = True
            try:
                with anyio.fail_after(max(0.0, service.until(begun) - time.monotonic())):
                    return await work(request, ticket, entry, begun)
            except TimeoutError as late:
                raise service.late() from late
            except ClientDisconnect as gone:
                raise ClientGone from gone
    except ClientGone:
        return Response(status_code=_GONE)
    except Refusal as refusal:
        if sent and refusal.status != HTTPStatus.GATEWAY_TIMEOUT:  # that client has had its time
            await _drain(request, service.options.largest_request)
        return error(str(refusal), refusal.status, retry_after=refusal.retry_after)
    except UfaError as fault:
        return error(str(fault), status_of(fault))


def _declared(request: Request, service: Service) -> int:
    """The bytes that a request says it has; 0 where it says nothing. Raises: Refusal."""
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Refusal("the request is compressed: send it as it is (pictures are compressed already).", 415)
    text = request.headers.get("Content-Length", "0")
    size = int(text) if text.isdecimal() else 0
    if size > service.options.largest_request:
        raise _too_large(service.options.largest_request)
    return size


def _too_large(limit: int) -> Refusal:
    return Refusal(f"the request is larger than {limit / 1e6:.0f} MB, which is all that is taken (`max_request`).", 413)


async def chunks(request: Request, ticket: Ticket, limit: int) -> AsyncIterator[bytes]:
    """The body, piece by piece. Raises: Refusal when it goes beyond ``limit`` bytes, or there is no room for it."""
    total = 0
    async for chunk in request.stream():
        total += len(chunk)
        if total > limit:
            raise _too_large(limit)
        if total > ticket.bytes:  # it did not say how long it would be
            ticket.hold(total - ticket.bytes)
        yield chunk


async def body(request: Request, ticket: Ticket, limit: int) -> bytearray:
    """The whole body. Raises: as `chunks`."""
    data = bytearray()
    async for chunk in chunks(request, ticket, limit):
        data += chunk
    return data


async def _drain(request: Request, limit: int) -> None:
    """Read what a refused client still sends, without keeping it: a client that is cut off does not read the answer."""
    left = limit
    with contextlib.suppress(ClientDisconnect, RuntimeError, TimeoutError):
        with anyio.fail_after(_DRAIN_SECONDS):
            async for chunk in request.stream():
                left -= len(chunk)
                if left < 0:
                    return


async def unless_gone(request: Request, work: Coroutine[Any, Any, Response]) -> Response:
    """``work``'s answer, given up when the client hangs up before. The request's body was read. Raises: ClientGone."""
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGone
        return task.result()
    finally:
        gone.cancel()
        task.cancel()
        # Not `gather`: cancelled by the deadline at this moment, it hands on a child's cancellation, which nobody waits for.
        await asyncio.wait({task, gone})
        for each in (task, gone):
            if not each.cancelled():
                each.exception()  # or its end is complained of


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def json_object(data: bytes | bytearray | memoryview) -> dict[str, Any]:
    """A JSON object. Raises: Refusal (400) when it is none."""
    try:
        found = json.loads(bytes(data))
    except (ValueError, RecursionError) as fault:
        raise Refusal(f"the request is no JSON: {fault}.", 400) from fault
    if not isinstance(found, dict):
        raise Refusal("the request is no JSON object.", 400)
    return found
