"""A server's figures, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from ufafuse.runtime.errors import InputError
from ufafuse.runtime.memory.usage import resident_bytes

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_PAIRS = (1, 2, 4, 8, 16, 32)


class Metrics:
    """Counts requests, and how long they took, by model."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        shared: dict[str, Any] = {"registry": self._registry}
        self.requests = Counter("ufafuse_requests", "Requests answered.", ("protocol", "model", "code"), **shared)
        self.latency = Histogram(
            "ufafuse_request_seconds", "From the first byte to the answer.", ("protocol", "model"), buckets=_SECONDS, **shared
        )
        self.waited = Histogram("ufafuse_queue_seconds", "Waiting for a worker.", ("model",), buckets=_SECONDS, **shared)
        self.fused = Histogram("ufafuse_fusion_seconds", "In the network.", ("model",), buckets=_SECONDS, **shared)
        self.together = Histogram("ufafuse_batch_pairs", "Pairs fused in one run.", ("model",), buckets=_PAIRS, **shared)
        self.gone = Counter("ufafuse_clients_gone", "Requests whose client went before the answer.", **shared)

    def watch(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Show ``value()`` as the gauge ``name`` whenever the figures are asked for."""
        Gauge(name, text, registry=self._registry).set_function(value)

    def watch_memory(self) -> None:
        """Show the process's memory, where the system tells it."""
        try:
            resident_bytes()
        except InputError:
            return
        self.watch("process_resident_memory_bytes", "Resident memory.", lambda: float(resident_bytes()))

    def text(self) -> bytes:
        """All of them in Prometheus' text format (version 0.0.4)."""
        return generate_latest(self._registry)


class Statistics:
    """What one model did, as Triton's clients ask for it: counts and nanoseconds."""

    def __init__(self) -> None:
        self.requests, self.runs, self.failed = 0, 0.0, 0
        self.queue_ns, self.fuse_ns, self.total_ns, self.last_ms = 0, 0, 0, 0

    def done(self, *, waited: float, fused: float, together: int, at: float) -> None:
        """Count one fusion: seconds waited and in work, how many shared the run, when (Unix time)."""
        self.requests += 1
        self.runs += 1 / together
        self.queue_ns += int(waited * 1e9)
        self.fuse_ns += int(fused * 1e9)
        self.total_ns += int((waited + fused) * 1e9)
        self.last_ms = int(at * 1e3)

    def to_json(self, name: str, version: str) -> dict[str, Any]:
        """The entry of ``model_stats``."""
        part = {"count": self.requests}
        return {
            "name": name,
            "version": version,
            "last_inference": self.last_ms,
            "inference_count": self.requests,
            "execution_count": round(self.runs),
            "inference_stats": {
                "success": {**part, "ns": self.total_ns},
                "fail": {"count": self.failed, "ns": 0},
                "queue": {**part, "ns": self.queue_ns},
                "compute_infer": {**part, "ns": self.fuse_ns},
            },
        }
