"""How uvicorn is run here, for the page and for `ufa serve` alike."""

from __future__ import annotations

import logging
from typing import Any

import uvicorn


def settings(application: Any, connection: Any, **more: Any) -> uvicorn.Config:  # noqa: ANN401 - what the library takes
    """One event loop of Python's own; defects go to standard error, requests nowhere.

    Args:
        application: An ASGI application.
        connection: The class of a client's connection, see `ufafuse.runtime.stream.web.connection`.
        more: What differs: backlog, time to shut down, TLS.
    """
    return uvicorn.Config(
        application,
        loop="asyncio",
        http=connection,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level=logging.ERROR,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        **more,
    )
