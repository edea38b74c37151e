"""The Open Inference Protocol over REST, with Triton's binary tensors; and what else is answered over HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from ufafuse.runtime.errors import InputError, UfaError
from ufafuse.runtime.serving import forms
from ufafuse.runtime.serving.admission import Ticket
from ufafuse.runtime.serving.guard import HEALTH, Guard
from ufafuse.runtime.serving.infer import Inference, Inferred, infer
from ufafuse.runtime.serving.metrics import CONTENT_TYPE
from ufafuse.runtime.serving.models import VERSION, server_metadata
from ufafuse.runtime.serving.requests import body, error, json_object, served, unless_gone
from ufafuse.runtime.serving.service import Service, status_of
from ufafuse.runtime.serving.tensors import SentTensor
from ufafuse.runtime.stream.web.headers import Headers
from ufafuse.runtime.stream.web.hosts import OwnNames

_JSON_LENGTH = "Inference-Header-Content-Length"
_MOST_DIGITS = 20  # of a length in a header
_EXPANSION = 8  # times its bytes, that JSON takes when it is read
_HELP = """ufafuse: frames at different focus in, one frame that is sharp everywhere out.

    curl -F near=@near.png -F far=@far.png {url}fuse -o fused.png

Models: {models}. The Open Inference Protocol is at /v2, figures at /metrics.
"""


def application(service: Service, host: str) -> Headers:
    """What is served over HTTP.

    Args:
        service: That answers.
        host: The address that is listened on, which requests may name.
    """
    token = service.options.token
    if token:
        checks = [Middleware(Guard, token=token)]
    else:
        checks = [Middleware(OwnNames, host=host, refused=lambda text: error(text, 400))]
    app = Starlette(routes=_routes(), middleware=checks, exception_handlers={HTTPException: _http_error, Exception: _defect})
    app.state.service = service
    return Headers(app)


def _routes() -> list[Route]:
    routes = [
        Route("/", _help),
        Route("/metrics", _metrics),
        Route("/fuse", _fuse, methods=["POST"]),
        Route("/v2", _server),
        Route(f"{HEALTH}/live", _live),
        Route(f"{HEALTH}/ready", _ready),
        Route("/v2/models/stats", _told(lambda service, _: service.stats())),
        Route("/v2/repository/index", _index, methods=["POST"]),
    ]
    for path in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
        routes += [
            Route(path, _told(lambda service, named: service.models.named(*named).metadata())),
            Route(f"{path}/ready", _told(lambda service, named: {"name": service.models.named(*named).name, "ready": True})),
            Route(f"{path}/config", _told(lambda service, named: service.models.named(*named).config())),
            Route(f"{path}/stats", _told(lambda service, named: service.stats(service.models.named(*named).name))),
            Route(f"{path}/infer", _infer, methods=["POST"]),
        ]
    return routes


def _told(answer: Callable[[Service, tuple[str, str]], dict[str, Any]]) -> Callable[[Request], Any]:
    """An endpoint that answers with a JSON object about the model that the address names."""

    async def endpoint(request: Request) -> Response:
        named = request.path_params.get("model", ""), request.path_params.get("version", "")
        try:
            return JSONResponse(answer(request.app.state.service, named))
        except UfaError as fault:
            return error(str(fault), status_of(fault))

    return endpoint


async def _help(request: Request) -> Response:
    service: Service = request.app.state.service
    models = ", ".join(loaded.name for loaded in service.models)
    return PlainTextResponse(_HELP.format(url=request.base_url, models=models))


async def _metrics(request: Request) -> Response:
    return Response(request.app.state.service.metrics.text(), headers={"Content-Type": CONTENT_TYPE})


async def _server(_request: Request) -> Response:
    return JSONResponse(server_metadata())


async def _live(_request: Request) -> Response:
    return JSONResponse({"live": True})


async def _ready(request: Request) -> Response:
    ready = request.app.state.service.ready
    return JSONResponse({"ready": ready}, 200 if ready else 503)


async def _index(request: Request) -> Response:
    models = request.app.state.service.models
    return JSONResponse([{**loaded.listed(), "reason": ""} for loaded in models])


async def _fuse(request: Request) -> Response:
    return await served(request, "fuse", forms.fuse)


async def _infer(request: Request) -> Response:
    return await served(request, "rest", _inferred)


async def _inferred(request: Request, ticket: Ticket, entry: dict[str, Any], begun: float) -> Response:
    service: Service = request.app.state.service
    loaded = service.models.named(request.path_params["model"], request.path_params.get("version", ""))
    entry["model"] = loaded.name
    data = await body(request, ticket, service.options.largest_request)
    text = request.headers.get(_JSON_LENGTH, str(len(data)))
    length = int(text) if text.isdecimal() and len(text) < _MOST_DIGITS else -1
    if not 0 <= length <= len(data):
        raise InputError(f"{_JSON_LENGTH} is {text[:20]}, and the request has {len(data)} bytes.")
    ticket.hold(_EXPANSION * length)
    values = await service.in_pool(lambda: json_object(memoryview(data)[:length]))
    asked_binary = _Binary(values)
    inference = inference_from(values, memoryview(data)[length:], loaded.name)
    asked = inference.asked
    until = service.until(begun, asked)

    async def answered() -> Response:
        made = await infer(service, inference, loaded, asked, ticket, until)
        return await service.in_pool(lambda: _response(made, inference.id, asked_binary))

    return await unless_gone(request, answered())


class _Binary:
    """Which outputs a request wants as bytes behind the JSON."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._all = _flag(_mapping(values, "parameters"), "binary_data_output", default=False)
        self._named = {
            output["name"]: _flag(_mapping(output, "parameters"), "binary_data", default=self._all)
            for output in _outputs(values)
        }

    def __contains__(self, name: str) -> bool:
        return self._named.get(name, self._all)


def _outputs(values: dict[str, Any]) -> list[dict[str, Any]]:
    """The outputs that a request names. Raises: InputError for one without a name."""
    found = _list(values, "outputs", may_lack=True)
    if not all(isinstance(output.get("name"), str) for output in found):
        raise InputError("each of `outputs` needs a name.")
    return found


def _flag(values: dict[str, Any], name: str, *, default: bool) -> bool:
    found = values.get(name, default)
    if not isinstance(found, bool):
        raise InputError(f"`{name}={found}` is neither true nor false.")
    return found


def inference_from(values: dict[str, Any], binary: memoryview, model: str) -> Inference:
    """A request from its JSON and the bytes behind it.

    Args:
        values: The JSON.
        binary: The binary tensors, one after the other.
        model: That the address names.

    Raises:
        InputError: It is not as the protocol has it.
    """
    inputs, at = [], 0
    for entry in _list(values, "inputs"):
        name, datatype, shape = entry.get("name"), entry.get("datatype"), entry.get("shape")
        if not isinstance(name, str) or not isinstance(datatype, str) or not _sizes(shape):
            raise InputError("each of `inputs` needs a name, a datatype and a shape.")
        size = _mapping(entry, "parameters").get("binary_data_size")
        if size is None:
            inputs.append(SentTensor(name, datatype, tuple(shape or ()), values=entry.get("data")))
            continue
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= len(binary) - at:
            raise InputError(f"{name} is to have {size} bytes, {len(binary) - at} are left.")
        inputs.append(SentTensor(name, datatype, tuple(shape or ()), raw=binary[at : at + size]))
        at += size
    if at != len(binary):
        raise InputError(f"{len(binary) - at} bytes behind the JSON belong to no input.")
    wanted = [entry["name"] for entry in _outputs(values)]
    return Inference(model, "", str(values.get("id", "")), inputs, _mapping(values, "parameters"), wanted)


def _list(values: dict[str, Any], name: str, *, may_lack: bool = False) -> list[dict[str, Any]]:
    found = values.get(name, [] if may_lack else None)
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise InputError(f"`{name}` is no list of tensors.")
    return found


def _mapping(values: dict[str, Any], name: str) -> dict[str, Any]:
    found = values.get(name, {})
    if not isinstance(found, dict):
        raise InputError(f"`{name}` is no JSON object.")
    return found


def _sizes(shape: object) -> bool:
    return isinstance(shape, list) and all(isinstance(side, int) and not isinstance(side, bool) for side in shape)


def _response(made: Inferred, identity: str, binary: _Binary) -> Response:
    outputs, tail = [], bytearray()
    for output in made.outputs:
        entry: dict[str, Any] = {"name": output.name, "datatype": output.datatype, "shape": output.shape}
        if output.name in binary:
            raw = output.raw()
            entry["parameters"] = {"binary_data_size": len(raw)}
            tail += raw
        else:
            entry["data"] = output.values()
        outputs.append(entry)
    values = {"model_name": made.model, "model_version": VERSION, "parameters": made.parameters, "outputs": outputs}
    text = json.dumps({**values, "id": identity} if identity else values).encode()
    if not tail:
        return Response(text, media_type="application/json")
    return Response(bytes(text + tail), media_type="application/octet-stream", headers={_JSON_LENGTH: str(len(text))})


async def _http_error(_request: Request, fault: Exception) -> Response:
    status = fault.status_code if isinstance(fault, HTTPException) else 500
    told = {404: "there is nothing at this address: see /", 405: "another method belongs to this address: see /"}
    answer = error(told.get(status, getattr(fault, "detail", "")), status)
    answer.headers.update(getattr(fault, "headers", None) or {})  # the methods that there are
    return answer


async def _defect(_request: Request, _fault: Exception) -> Response:
    return error("the server has a defect, which it wrote into its log.", 500)
