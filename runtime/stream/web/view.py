"""The page to look at: near, far, fused and map, live, with the line of figures."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from ufafuse.runtime.stream.messages import FusedPair, size_of
from ufafuse.runtime.stream.web.broadcast import Broadcast
from ufafuse.runtime.stream.web.headers import policy_for
from ufafuse.runtime.stream.web.metrics import CONTENT_TYPE, metrics_text
from ufafuse.runtime.stream.web.server import Answer, PageServer, as_json, pictures, text

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from ufafuse.runtime.stream.pipeline import Pipeline

PANES = ("near", "far", "fused", "map")
_WIDEST = 960
_SILENT_SECONDS = 30.0


class View:
    """Serves one pipeline's pictures and figures.

    Paths: ``/`` (the page), ``/near.mjpeg``, ``/far.mjpeg``, ``/fused.mjpeg``, ``/map.mjpeg``, ``/figures`` and ``/history``
    (JSON: the figures now, the curves of the last ten minutes), ``/metrics`` (Prometheus), ``/health`` (200, or 503 when
    nothing was written for 30 seconds).

    Args:
        address: Host and port.
        token: Needed for any address but loopback.
        fastest: Pictures a second that one viewer gets at most: each costs the machine an encoding.

    Raises:
        InputError, OutputError: As `PageServer`.
    """

    def __init__(self, address: tuple[str, int], *, token: str = "", fastest: float = 10.0) -> None:
        self._panes = {pane: Broadcast(widest=_WIDEST) for pane in PANES}
        self._pipeline: Pipeline | None = None
        self._about: Mapping[str, Any] = {}
        self._size = ""
        routes = {f"/{pane}.mjpeg": partial(pictures, self._panes[pane], fastest=fastest) for pane in PANES}
        page = {
            "/": _page(),
            "/history": self._history,
            "/figures": self._figures,
            "/metrics": self._metrics,
            "/health": self._health,
        }
        self.server = PageServer(address, {**routes, **page}, token=token)

    @property
    def url(self) -> str:
        """Where a browser finds the page."""
        return self.server.url

    @property
    def wants_map(self) -> bool:
        """Whether anyone looks at the map, so that it is worth computing."""
        return self._panes["map"].watched

    def start(self, pipeline: Pipeline, about: Mapping[str, Any] | None = None) -> None:
        """Serve ``pipeline``'s figures.

        Args:
            pipeline: Whose.
            about: What it fuses with, for people: ``model``, ``backend``, ``precision``.
        """
        self._pipeline, self._about = pipeline, about or {}
        self.server.start()

    def show(self, item: FusedPair) -> None:
        """Make ``item`` what viewers see next; takes microseconds."""
        self._size = size_of(item.fused)
        pictures = (item.pair.near.array, item.pair.far.array, item.fused, item.map)
        for pane, picture in zip(PANES, pictures, strict=True):
            self._panes[pane].publish(picture)

    def stop(self) -> None:
        """Serve no more."""
        self.server.stop()

    def _figures(self, _request: Request) -> Response:
        return as_json({**self._running().figures(), "about": {**self._about, "size": self._size}})

    def _history(self, _request: Request) -> Response:
        return as_json(self._running().judge.history())

    def _metrics(self, _request: Request) -> Response:
        return text(metrics_text(self._running()), kind=CONTENT_TYPE)

    def _health(self, _request: Request) -> Response:
        silent = self._running().seconds_since_output
        status = HTTPStatus.OK if silent < _SILENT_SECONDS else HTTPStatus.SERVICE_UNAVAILABLE
        return as_json({"ok": status == HTTPStatus.OK, "seconds_since_output": round(silent, 1)}, status=status)

    def _running(self) -> Pipeline:
        assert self._pipeline is not None, "the server starts after the pipeline is known"
        return self._pipeline


def _page() -> Answer:
    """Answers with the page, which is read now: when somebody asks for it, files may have run out."""
    page = files("ufafuse.runtime.stream.web").joinpath("page.html").read_text(encoding="utf-8")
    headers = {"Content-Security-Policy": policy_for(page)}
    return lambda _request: text(page, kind="text/html; charset=utf-8", headers=headers)
