"""`ufa serve` as a function: until a signal asks for the end."""

from __future__ import annotations

import threading
import time
from typing import Any

from ufafuse.runtime import console
from ufafuse.runtime.serving.options import ServeOptions
from ufafuse.runtime.signals import counted_signals
from ufafuse.runtime.stream.systemd import Notifier

_TICK = 0.2


def serve(options: ServeOptions, *, final: bool = False) -> dict[str, Any]:
    """Serve until SIGINT, SIGTERM or SIGHUP: then nothing more is taken, and what is under way is finished.

    A second signal gives up what is under way.

    Args:
        options: See `ServeOptions`.
        final: The process ends with this run, see `counted_signals`.

    Returns:
        The summary; ``ok`` is false where something was given up.

    Raises:
        UfaError: It could not begin.
    """
    from ufafuse.runtime.serving.server import Server  # an extra: raises InputError where it is missing

    begun = time.monotonic()
    server, notifier = Server(options), Notifier()
    with counted_signals(final=final) as asked, server:
        for loaded in server.models:
            console.err.print(console.escape(loaded.described()))
        console.err.print(f"serving at {server.url}" + (f", gRPC on port {server.grpc_port}" if server.grpc_port else ""))
        notifier.ready()
        while server.running and not asked:
            time.sleep(_TICK)
            notifier.alive(f"{server.service.admission.active} requests under way")
        if server.error is not None:
            raise server.error
        notifier.stopping()
        console.err.print("ending: what is under way is finished; once more to give it up")
        finished = _drained(server, asked)
    stats = [entry for entry in server.service.stats()["model_stats"] if entry["inference_count"]]
    return {
        "ok": finished,
        "url": server.url,
        "models": [loaded.name for loaded in server.models],
        "fused": sum(entry["inference_count"] for entry in stats),
        "seconds": round(time.monotonic() - begun, 3),
        **({} if finished else {"error": "requests under way were given up."}),
    }


def _drained(server: Any, asked: list[int]) -> bool:  # noqa: ANN401 - `Server`, which needs an extra
    """Whether all was finished; a signal more ends the wait."""
    enough = threading.Event()
    before = len(asked)
    done: list[bool] = []
    thread = threading.Thread(target=lambda: done.append(server.drain(enough=enough)), name="ufafuse-drain", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(_TICK)
        if len(asked) > before:
            enough.set()
    return bool(done and done[0])
