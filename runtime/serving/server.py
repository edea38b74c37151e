"""The server: HTTP and gRPC on one event loop in a thread of its own, started when its models are loaded, ended in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import threading
import time
from typing import Any

from ufafuse.runtime.errors import BackendError, InputError
from ufafuse.runtime.serving.models import Models
from ufafuse.runtime.serving.options import ServeOptions
from ufafuse.runtime.stream.web.address import listening

try:
    import uvicorn
    from uvicorn.protocols.http.h11_impl import H11Protocol

    from ufafuse.runtime.serving.requests import load_for_requests
    from ufafuse.runtime.serving.rest import application
    from ufafuse.runtime.serving.service import Service
    from ufafuse.runtime.stream.web.connection import Complaints, Connection
    from ufafuse.runtime.stream.web.settings import settings
except ModuleNotFoundError as error:
    raise InputError(f"serving needs {(error.name or '').partition('.')[0]}: run `pip install 'ufafuse[serve]'`.") from error

_BACKLOG = 128
_FORMS = "python_multipart"  # logs what is wrong with a form, which its sender is told
_TICK = 0.05
_START_SECONDS = 30.0
_STOP_SECONDS = 5


class _ClientConnection(Connection):
    """As the live page's, with room for a fleet, time for large pictures, and answers that are finished at the end."""

    most = 512
    slow_seconds = 60.0

    def shutdown(self) -> None:
        """What is being answered is answered."""
        H11Protocol.shutdown(self)


class Server:
    """Serves models over HTTP, and over gRPC where that is asked for.

    Args:
        options: See `ServeOptions`.

    Raises:
        InputError: Options, a model or an extra that cannot be used.
        OutputError: An address cannot be used.
        UfaError: As `Fuser`, for the models.
    """

    def __init__(self, options: ServeOptions) -> None:
        self.options = options
        logging.getLogger(_FORMS).setLevel(logging.CRITICAL)
        with contextlib.ExitStack() as opened:
            self._socket = listening(options.address, waiting=_BACKLOG)
            opened.callback(self._socket.close)
            self.address: tuple[str, int] = self._socket.getsockname()[:2]
            self.grpc_port = 0
            _check_tls(options)
            self.models = Models(options)
            opened.callback(self.models.close)
            self.service = Service(self.models, options)
            opened.callback(self.service.close)
            self._http = uvicorn.Server(_settings(self.service, options, self.address[0]))
            self._ended: list[BaseException] = []
            self._started = threading.Event()
            self._loop: asyncio.AbstractEventLoop | None = None
            self._grpc: Any = None
            self._thread = threading.Thread(target=self._run, name="ufafuse-serve", daemon=True)
            self._closing = opened.pop_all()

    @property
    def url(self) -> str:
        """Where HTTP is spoken."""
        host, port = self.address
        return f"http{'s' if self.options.secure else ''}://{f'[{host}]' if ':' in host else host}:{port}/"

    @property
    def running(self) -> bool:
        """Whether requests are answered."""
        return self._thread.is_alive()

    @property
    def error(self) -> BaseException | None:
        """What ended it, where nobody asked for its end."""
        return self._ended[0] if self._ended else None

    def start(self) -> None:
        """Begin to answer; returns when the ports are open.

        Raises:
            OutputError, InputError: gRPC's address or certificate cannot be used.
        """
        self._thread.start()
        until = time.monotonic() + _START_SECONDS
        while not self._started.wait(_TICK) and self._thread.is_alive():
            if time.monotonic() > until:
                raise BackendError(f"the server did not come up within {_START_SECONDS:g} s.")
        if self.error is not None:
            raise self.error

    def drain(self, *, enough: threading.Event | None = None) -> bool:
        """Say that no more should come, finish what is under way; whether all was finished.

        For ``grace`` seconds requests are still taken, so that whoever sends them has time to notice; then new ones are told
        503. What is under way has as long as a request may take.

        Args:
            enough: Set from elsewhere, it ends the wait.
        """
        service, enough = self.service, enough or threading.Event()
        service.draining = True
        enough.wait(self.options.grace)
        service.admission.closed = True
        until = time.monotonic() + self.options.deadline
        while service.admission.active and time.monotonic() < until and not enough.wait(_TICK):
            pass
        return not service.admission.active

    def stop(self) -> None:
        """End; what is under way is cut off. May be called twice."""
        self._http.should_exit = True
        if self._thread.is_alive():
            self._thread.join(2 * _STOP_SECONDS)
        self._closing.close()

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - handed to whoever started the thread
            self._ended.append(error)
        finally:
            self._started.set()

    async def _serve(self) -> None:
        asyncio.get_running_loop().set_exception_handler(Complaints())
        load_for_requests()
        if self.options.grpc is not None:
            try:
                from ufafuse.runtime.serving.grpc_service import grpc_server
            except ModuleNotFoundError as error:
                raise InputError(f"gRPC needs {error.name}: run `pip install 'ufafuse[serve]'`, or omit `grpc`.") from error

            self._grpc, self.grpc_port = grpc_server(self.service, self.options)
            await self._grpc.start()
        serving = asyncio.ensure_future(self._http.serve(sockets=[self._socket]))
        while not self._http.started and not serving.done():
            await asyncio.sleep(_TICK)
        self._started.set()
        await serving
        if self._grpc is not None:
            await self._grpc.stop(_STOP_SECONDS)


def _check_tls(options: ServeOptions) -> None:
    """Refuse a certificate that does not go with its key (`InputError`)."""
    if options.certificate is None or options.key is None:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(options.certificate, options.key)
    except (ssl.SSLError, OSError) as error:
        reason = (error.reason if isinstance(error, ssl.SSLError) else error.strerror) or "no PEM"
        raise InputError(
            f"{options.certificate} and {options.key} cannot be used for TLS ({reason}): give a certificate and its key as PEM."
        ) from error


def _settings(service: Service, options: ServeOptions, host: str) -> uvicorn.Config:
    return settings(
        application(service, host),
        _ClientConnection,
        backlog=_BACKLOG,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=_STOP_SECONDS,
        ssl_certfile=options.certificate,
        ssl_keyfile=options.key,
    )
