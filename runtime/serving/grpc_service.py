"""The Open Inference Protocol over gRPC, with the messages of Triton's own client library."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from google.protobuf import json_format  # type: ignore[import-untyped]
from tritonclient.grpc import service_pb2, service_pb2_grpc

from ufafuse.runtime.errors import InputError, OutputError, UfaError
from ufafuse.runtime.serving.admission import Refusal
from ufafuse.runtime.serving.guard import NEEDED, knows
from ufafuse.runtime.serving.infer import Inference, Inferred, infer
from ufafuse.runtime.serving.models import VERSION, server_metadata
from ufafuse.runtime.serving.options import ServeOptions
from ufafuse.runtime.serving.service import Service, status_of
from ufafuse.runtime.serving.tensors import SentTensor

# Generated code, whose names no tool sees.
pb: Any = service_pb2
stubs: Any = service_pb2_grpc
_Servicer: Any = stubs.GRPCInferenceServiceServicer

_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
_HEALTH = frozenset(("ServerLive", "ServerReady"))
_LONGEST_TEXT = 2000  # characters of an error: clients take no more than some kilobytes of what is sent with a code
_BESIDE = 1 << 20  # bytes of a message beside its tensors
_MORE_CALLS = 64  # beside those that may be under way: they are told that the server is full
_FEWEST_CALLS = 4
_MOST_CONNECTIONS = 512  # and no more than half of the process's handles: HTTP needs them too
_HANDSHAKE_SECONDS = 10  # for who connects and says nothing
_IDLE_SECONDS = 60  # clients connect anew by themselves
_EACH_NUMBER = 24  # bytes that a number takes while it is read, where it does not come as raw bytes
_BYTES = "BYTES"


class InferenceService(_Servicer):
    """Answers with what `Service` makes."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def ServerLive(self, _request: Any, _context: Any) -> Any:  # noqa: N802, ANN401 - generated types have none
        """Whether it lives."""
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(self, _request: Any, _context: Any) -> Any:  # noqa: N802, ANN401
        """Whether requests should be sent here."""
        return pb.ServerReadyResponse(ready=self._service.ready)

    async def ModelReady(self, request: Any, _context: Any) -> Any:  # noqa: N802, ANN401
        """Whether there is such a model."""
        try:
            self._service.models.named(request.name, request.version)
        except Refusal:
            return pb.ModelReadyResponse(ready=False)
        return pb.ModelReadyResponse(ready=True)

    async def ServerMetadata(self, _request: Any, _context: Any) -> Any:  # noqa: N802, ANN401
        """Name, version, extensions."""
        return pb.ServerMetadataResponse(**server_metadata())

    async def ModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802, ANN401
        """A model's tensors."""
        loaded = await _or_abort(context, lambda: self._service.models.named(request.name, request.version))
        return json_format.ParseDict(loaded.metadata(), pb.ModelMetadataResponse())

    async def ModelConfig(self, request: Any, context: Any) -> Any:  # noqa: N802, ANN401
        """What Triton calls a model's configuration."""
        loaded = await _or_abort(context, lambda: self._service.models.named(request.name, request.version))
        return json_format.ParseDict({"config": loaded.config()}, pb.ModelConfigResponse())

    async def ModelStatistics(self, request: Any, context: Any) -> Any:  # noqa: N802, ANN401
        """What the models did."""
        stats = await _or_abort(context, lambda: self._service.stats(request.name))
        return json_format.ParseDict(stats, pb.ModelStatisticsResponse())

    async def RepositoryIndex(self, _request: Any, _context: Any) -> Any:  # noqa: N802, ANN401
        """The models that are loaded."""
        index = {"models": [loaded.listed() for loaded in self._service.models]}
        return json_format.ParseDict(index, pb.RepositoryIndexResponse())

    async def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802, ANN401
        """Fuse."""
        return await _or_abort(context, lambda: self._inferred(request, context))

    async def _inferred(self, request: Any, context: Any) -> Any:  # noqa: ANN401
        service, begun = self._service, time.monotonic()
        with service.counted("grpc", begun) as entry, service.admission.entered(request.ByteSize()) as ticket:
            ticket.hold(_EACH_NUMBER * sum(len(_numbers(tensor)) for tensor in request.inputs))
            loaded = service.models.named(request.model_name, request.model_version)
            entry["model"] = loaded.name
            inference = inference_from(request)
            asked = inference.asked
            until = service.until(begun, asked)
            left = context.time_remaining()
            until = until if left is None else min(until, begun + left)
            try:
                work = infer(service, inference, loaded, asked, ticket, until)
                made = await asyncio.wait_for(work, max(0.0, until - time.monotonic()))
            except asyncio.TimeoutError as late:
                raise service.late() from late
            return await service.in_pool(lambda: _response(made, request.id))


async def _or_abort(context: Any, work: Callable[[], Any]) -> Any:  # noqa: ANN401 - a value, or an awaitable of one
    """``work``'s value; an error ends the call with its code."""
    try:
        found = work()
        return await found if isinstance(found, Awaitable) else found
    except UfaError as fault:
        status = status_of(fault)
        if isinstance(fault, Refusal) and fault.retry_after is not None:
            # What gRPC's clients call the time to come again.
            context.set_trailing_metadata((("grpc-retry-pushback-ms", str(1000 * fault.retry_after)),))
        await context.abort(_CODES.get(status, grpc.StatusCode.INTERNAL), str(fault)[:_LONGEST_TEXT])


def inference_from(request: Any) -> Inference:  # noqa: ANN401 - a ModelInferRequest
    """A request from its message. Raises: InputError when it is not as the protocol has it."""
    raw = list(request.raw_input_contents)
    if raw and len(raw) != len(request.inputs):
        raise InputError(f"{len(request.inputs)} inputs have {len(raw)} raw contents: send one for each, or none.")
    inputs = []
    for index, entry in enumerate(request.inputs):
        tensor = SentTensor(entry.name, entry.datatype, tuple(entry.shape), raw=raw[index] if raw else None)
        if not raw:  # as it lies in the message: that is gone through elsewhere, not between answers to others
            tensor.values = list(entry.contents.bytes_contents) if entry.datatype == _BYTES else _numbers(entry)
        inputs.append(tensor)
    wanted = [entry.name for entry in request.outputs]
    parameters = {name: _value(parameter) for name, parameter in request.parameters.items()}
    return Inference(request.model_name, request.model_version, request.id, inputs, parameters, wanted)


def _numbers(tensor: Any) -> Any:  # noqa: ANN401 - a field of the message, which is a sequence
    """What a tensor holds that is neither raw bytes nor pictures."""
    return tensor.contents.fp32_contents if tensor.datatype == "FP32" else tensor.contents.uint_contents


def _value(parameter: Any) -> Any:  # noqa: ANN401 - whatever was set
    return getattr(parameter, parameter.WhichOneof("parameter_choice") or "string_param")


def _response(made: Inferred, identity: str) -> Any:  # noqa: ANN401 - a ModelInferResponse
    response = pb.ModelInferResponse(model_name=made.model, model_version=VERSION, id=identity)
    for name, value in made.parameters.items():
        response.parameters[name].string_param = value
    for output in made.outputs:
        response.outputs.add(name=output.name, datatype=output.datatype, shape=output.shape)
        response.raw_output_contents.append(output.raw())
    return response


class _Token(grpc.aio.ServerInterceptor):
    """Lets in who knows the token; health is told to all."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:  # noqa: ANN401 - the library's types
        given = dict(handler_call_details.invocation_metadata).get("authorization", "")
        if handler_call_details.method.rpartition("/")[2] in _HEALTH or knows(self._token, str(given)):
            return await continuation(handler_call_details)

        async def refuse(_request: Any, context: Any) -> None:  # noqa: ANN401
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, NEEDED)

        return grpc.unary_unary_rpc_method_handler(refuse)


def most_calls(options: ServeOptions) -> int:
    """Calls at once. gRPC reads a message before anybody can refuse it: together they stay within the room for requests."""
    return max(_FEWEST_CALLS, min(options.queue + options.workers + _MORE_CALLS, options.room // options.largest_request))


def most_connections() -> int:
    """Connections at once, with and without a token: gRPC holds on to what is idle, and would take every handle there is."""
    handles = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return _MOST_CONNECTIONS if handles == resource.RLIM_INFINITY else max(1, min(_MOST_CONNECTIONS, handles // 2))


def grpc_server(service: Service, options: ServeOptions) -> tuple[Any, int]:
    """A server that is not started yet, and the port that it has.

    Raises:
        OutputError: The address cannot be used.
        InputError: The certificate or its key cannot.
    """
    if options.grpc is None:
        raise InputError("no address was given for gRPC.")
    limit = options.largest_request + _BESIDE
    server = grpc.aio.server(
        interceptors=[_Token(options.token)] if options.token else None,
        options=[
            ("grpc.max_receive_message_length", limit),
            ("grpc.max_send_message_length", -1),
            ("grpc.max_allowed_incoming_connections", most_connections()),
            ("grpc.server_handshake_timeout_ms", 1000 * _HANDSHAKE_SECONDS),
            ("grpc.max_connection_idle_ms", 1000 * _IDLE_SECONDS),
            ("grpc.so_reuseport", 0),  # or a second server would quietly share the port
        ],
        maximum_concurrent_rpcs=most_calls(options),
    )
    stubs.add_GRPCInferenceServiceServicer_to_server(InferenceService(service), server)
    host, port = options.grpc
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        if options.certificate is not None and options.key is not None:
            pair = (options.key.read_bytes(), options.certificate.read_bytes())
            bound = server.add_secure_port(where, grpc.ssl_server_credentials([pair]))
        else:
            bound = server.add_insecure_port(where)
    except (RuntimeError, OSError) as error:
        raise OutputError(f"nothing can be served on {where} by gRPC: choose another port.") from error
    if bound == 0:
        raise OutputError(f"nothing can be served on {where} by gRPC: choose another port, and check the certificate.")
    return server, int(bound)
