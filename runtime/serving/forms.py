"""``POST /fuse``: pictures in a form, one picture back; what people with curl use."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from python_multipart.exceptions import FormParserError  # of what Starlette reads forms with, and lets through
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.responses import Response

from ufafuse.runtime.errors import InputError
from ufafuse.runtime.serving.admission import Refusal, Ticket
from ufafuse.runtime.serving.asking import FORMATS, asked_from
from ufafuse.runtime.serving.pictures import Upload
from ufafuse.runtime.serving.requests import chunks, unless_gone
from ufafuse.runtime.serving.service import Service
from ufafuse.runtime.texts import one_line

REPORT = "Ufafuse-Report"
_MOST_PICTURES = 500
_MOST_FIELDS = 32
_MOST_HEADER = 8 << 10  # bytes: what clients take
_FORM = "send two or more pictures as a form: curl -F near=@near.png -F far=@far.png"


class _Form(MultiPartParser):
    """Keeps pictures in memory: the server's disk is none of a client's business."""

    def __init__(self, headers: Headers, stream: AsyncIterator[bytes], *, largest: int) -> None:
        super().__init__(headers, stream, max_files=_MOST_PICTURES, max_fields=_MOST_FIELDS)  # type: ignore[arg-type] # as it is
        self.spool_max_size = largest + 1


async def fuse(request: Request, ticket: Ticket, entry: dict[str, Any], begun: float) -> Response:
    """Answer with the fused picture; the header ``Ufafuse-Report`` says what was decided.

    Raises:
        UfaError: Pictures or options that cannot be used.
    """
    service: Service = request.app.state.service
    uploads, values = await _form(request, ticket, service.options.largest_request)
    for key, value in request.query_params.multi_items():
        _set(values, key, value)
    name = values.pop("model", "")
    output = values.pop("output", "fused")
    if output not in ("fused", "map"):
        raise InputError(f"`output={output}` is not known: give fused or map.")
    if "order" in values:
        raise InputError("`order` is for tensors: a picture's file says how its colours lie.")
    asked = asked_from(values, beside=("output", "model"))
    named = service.models.named(name) if name else None
    entry["model"] = (named or service.models.for_frames(len(uploads))).name
    until = service.until(begun, asked)

    async def answered() -> Response:
        loaded, brought = await service.brought_for(named, uploads, asked, ticket, want_map=output == "map")
        entry["model"] = loaded.name
        uploads.clear()
        made = await service.fused(loaded, brought, until, want_map=output == "map")
        if output == "map" and made.stacked.map is not None:
            from ufafuse.runtime.outputs import as_levels

            made.stacked.fused, made.brought.sources = as_levels(made.stacked.map), []
        data, suffix = await service.picture(made, asked)
        return Response(data, media_type=FORMATS[suffix], headers={REPORT: _header(made.report())})

    return await unless_gone(request, answered())


def _set(values: dict[str, Any], name: str, value: Any) -> None:  # noqa: ANN401 - as the form has it
    """Take an option. Raises: InputError where it has another value already."""
    if values.setdefault(name, value) != value:
        raise InputError(f"`{name}` is given twice, as {values[name]} and as {value}: give it once.")


async def _form(request: Request, ticket: Ticket, limit: int) -> tuple[list[Upload], dict[str, Any]]:
    """The pictures in the order of the form, and its other fields. Raises: Refusal, InputError."""
    if not request.headers.get("Content-Type", "").lower().startswith("multipart/form-data"):
        raise Refusal(f"the request is no form: {_FORM}.", 415)
    try:
        form = await _Form(request.headers, chunks(request, ticket, limit), largest=limit).parse()
    except (MultiPartException, FormParserError, KeyError, AssertionError) as fault:
        reason = getattr(fault, "message", "") or "its parts cannot be told apart"
        raise Refusal(f"the form cannot be read ({reason}): {_FORM}.", 400) from fault
    uploads, values = [], dict[str, Any]()
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            uploads.append(Upload(one_line(value.filename or name)[:100], await value.read()))
            await value.close()
        else:
            _set(values, name, value)
    if len(uploads) < 2:
        raise InputError(f"too few pictures were sent ({len(uploads)}): {_FORM}.")
    return uploads, values


def _header(report: dict[str, Any]) -> str:
    """The report as a header can hold it: ASCII, and not too long."""
    text = json.dumps(report)
    if len(text) <= _MOST_HEADER:
        return text
    short = {key: report[key] for key in ("model", "backend", "precision", "size", "ms") if key in report}
    return json.dumps({**short, "shortened": True, "warnings": [str(one)[:300] for one in report.get("warnings", [])[:10]]})
