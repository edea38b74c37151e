"""Live fusion: sources, pairing, the pipeline, sinks and the page to look at.

The names below are loaded when they are first used, so that importing this package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ufafuse.runtime.stream.messages import Frame, FusedPair, Pair
    from ufafuse.runtime.stream.options import PipelineOptions
    from ufafuse.runtime.stream.pipeline import Pipeline
    from ufafuse.runtime.stream.reader import Event, RetryPolicy
    from ufafuse.runtime.stream.sinks import FolderSink, HttpSink, MatroskaSink, OpenCvSink, Sink, sink_from_text
    from ufafuse.runtime.stream.sources import IterableSource, PushSource, SimSource, Source, source_from_text
    from ufafuse.runtime.stream.web.view import View

_HOMES = {
    "Event": "reader",
    "FolderSink": "sinks",
    "Frame": "messages",
    "FusedPair": "messages",
    "HttpSink": "sinks",
    "IterableSource": "sources",
    "MatroskaSink": "sinks",
    "OpenCvSink": "sinks",
    "Pair": "messages",
    "Pipeline": "pipeline",
    "PipelineOptions": "options",
    "PushSource": "sources",
    "RetryPolicy": "reader",
    "SimSource": "sources",
    "Sink": "sinks",
    "Source": "sources",
    "View": "web.view",
    "sink_from_text": "sinks",
    "source_from_text": "sources",
}

__all__ = [
    "Event",
    "FolderSink",
    "Frame",
    "FusedPair",
    "HttpSink",
    "IterableSource",
    "MatroskaSink",
    "OpenCvSink",
    "Pair",
    "Pipeline",
    "PipelineOptions",
    "PushSource",
    "RetryPolicy",
    "SimSource",
    "Sink",
    "Source",
    "View",
    "sink_from_text",
    "source_from_text",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any of the names above
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """Also the names that are imported when they are asked for, which completion and `help` would not see otherwise."""
    return sorted({*globals(), *__all__})
