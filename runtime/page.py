"""A page about one fusion, to look at: one file, no network. Near, far and fused side by side, who won, what was done."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.arrays import Array
from ufafuse.runtime.errors import OutputError
from ufafuse.runtime.pagewords import told_in_words
from ufafuse.runtime.texts import suffix_words
from ufafuse.runtime.writing import check_new, check_parent, write_text

_LONGEST = 2400  # pixels of a side: larger pictures are shown smaller
_QUALITY = 90
_MAP_LONGEST = 1000


def check_page(path: Path, *, force: bool) -> None:
    """Refuse a page that could not be written (`OutputError`)."""
    if path.suffix.lower() not in (".html", ".htm"):
        raise OutputError(f"{suffix_words(path)}: a report ends in .html.")
    check_parent(path)
    check_new(path, force=force)


def write_page(
    path: Path,
    pictures: Mapping[str, Array],
    *,
    title: str,
    engine: str,
    unit: float,
    names: Sequence[str],
    details: Mapping[str, Any],
    warnings: Sequence[str],
    ms: float,
    won: NDArray[np.float32] | None = None,
    sharp: NDArray[np.float32] | None = None,
    force: bool = False,
) -> None:
    """Write the page, whole or not at all.

    Args:
        path: An .html file.
        pictures: ``near``, ``far`` and ``fused``: BGR, BGRA or grey.
        title: The result's name.
        engine: Network, arithmetic and engine.
        unit: The level of the pictures that is shown as white.
        names: Of the frames.
        details: The report's entries.
        warnings: What the user should know.
        ms: Time of the fusion.
        won: H x W in [0, 1], 1 where the first frame won, 0 where the last; None: the model tells nothing.
        sharp: H x W in [0, 1], 1 where a frame is surely sharp; None: not known.
        force: Replace an existing file.

    Raises:
        OutputError: It cannot be written.
    """
    fused = pictures["fused"]
    shown = {name: _embedded(_eight(picture, unit), _LONGEST) for name, picture in pictures.items()}
    size = f"{fused.shape[1]} x {fused.shape[0]} pixels, {fused.dtype}"
    page = Template(files("ufafuse.runtime").joinpath("page.html").read_text(encoding="utf-8")).substitute(
        title=html.escape(title),
        subtitle=html.escape(f"{len(names)} frames, {size}, fused in {ms:.0f} ms by {engine}"),
        warnings=_warnings(warnings),
        options="".join(f'<option value="{name}">{_called(name, len(names))}</option>' for name in shown),
        pictures=json.dumps(shown),
        maps=_maps(won, sharp, len(names)),
        rows="".join(_row(*pair) for pair in told_in_words(details)),
        frames=_frames(names, details),
    )
    write_text(path, page, force=force)


def _eight(picture: Array, unit: float) -> NDArray[np.uint8]:
    """8 bits, without alpha (on grey where it is transparent), without dimensions of one."""
    image = picture.reshape(picture.shape[:2]) if picture.ndim == 3 and picture.shape[2] == 1 else picture
    scale = 255 / unit
    eight: Array = image
    if image.dtype != np.uint8 or scale != 1:
        eight = np.clip(np.rint(image * np.float32(scale)), 0, 255).astype(np.uint8)
    if eight.ndim == 3 and eight.shape[-1] == 4:
        share = eight[..., 3:].astype(np.float32) / max(1, int(eight[..., 3].max()))
        eight = (eight[..., :3] * share + 110 * (1 - share)).astype(np.uint8)
    return np.ascontiguousarray(eight)


def _embedded(image: NDArray[np.uint8], longest: int, suffix: str = ".jpg") -> str:
    """As a data: address, reduced to ``longest`` pixels."""
    factor = longest / max(image.shape[:2])
    if factor < 1:
        size = max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    done, data = cv2.imencode(suffix, image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY] if suffix == ".jpg" else [])
    assert done, "an 8-bit picture can be encoded"
    kind = "jpeg" if suffix == ".jpg" else "png"
    return f"data:image/{kind};base64,{base64.b64encode(data.tobytes()).decode()}"


def _warnings(warnings: Sequence[str]) -> str:
    items = "".join(f"<li>{html.escape(warning)}</li>" for warning in warnings)
    return f'<ul class="warnings">{items}</ul>' if items else ""


def _called(name: str, count: int) -> str:
    """What one of the pictures is to who looks at the page: of a stack's frames two are shown."""
    return {"near": "first frame", "far": "last frame"}.get(name, name) if count > 2 else name


def _maps(won: NDArray[np.float32] | None, sharp: NDArray[np.float32] | None, count: int) -> str:
    figures = []
    if won is not None:
        ends = (_called("near", count), _called("far", count))
        figures.append(_figure(1 - won, cv2.COLORMAP_VIRIDIS, "Which frame won.", ends))
    if sharp is not None:
        blurred = float((sharp < 0.5).mean())
        told = f"Where a frame is sharp; {100 * blurred:.0f} % of the picture is sharp in none, or has nothing to be sharp."
        figures.append(_figure(sharp, cv2.COLORMAP_INFERNO, told, ("in none", "surely")))
    return "".join(figures)


def _figure(plane: NDArray[np.float32], colours: int, caption: str, ends: tuple[str, str]) -> str:
    picture = cv2.applyColorMap(np.rint(np.clip(plane, 0, 1) * 255).astype(np.uint8), colours)
    ramp = cv2.applyColorMap(np.linspace(0, 255, 9).astype(np.uint8).reshape(1, -1), colours)[0]
    stops = ", ".join(f"rgb({red},{green},{blue})" for blue, green, red in ramp.tolist())
    return (
        f'<figure><img alt="{html.escape(caption)}" src="{_embedded(np.asarray(picture, np.uint8), _MAP_LONGEST)}">'
        f'<div class="scale" style="background:linear-gradient(90deg,{stops})"></div>'
        f'<div class="ends"><span>{ends[0]}</span><span>{ends[1]}</span></div>'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )


def _row(name: str, text: str) -> str:
    return f"<tr><th>{html.escape(name)}</th><td>{html.escape(text)}</td></tr>"


def _moves(details: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """How frames lie to the reference, in the order of focus: without those that are left out."""
    return details.get("alignment", ())


def _frames(names: Sequence[str], details: Mapping[str, Any]) -> str:
    """The frames, and how each lay to the reference."""
    told = {move["frame"]: move.get("refused") or f"{move['motion']}, {move['moved_px']:g} pixels" for move in _moves(details)}
    told |= {name: f"left out: {why}" for name, why in details.get("left_out", {}).items()}
    if "alignment" in details:
        told[details["reference"]] = "the reference"
    rows = []
    for number, name in enumerate(names, 1):
        text = told.get(name, "")
        rows.append(f"<tr><th>{number}</th><td>{html.escape(name)}</td><td>{html.escape(str(text))}</td></tr>")
    return f'<h2>Frames</h2><div class="table"><table class="numbered">{"".join(rows)}</table></div>'
