"""A page to look at: the table of methods, and of every stack the same parts of all pictures, 1:1; one file without others."""

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote

import cv2
import numpy as np

from ufafuse.benchmarks.evaluate import EvalRow, Evaluation
from ufafuse.benchmarks.metrics import SHARES
from ufafuse.benchmarks.page import CLOSEUPS_FOLDER, Region, html_table
from ufafuse.benchmarks.published import TableRow
from ufafuse.benchmarks.stacks.closeups import chosen_regions, strip
from ufafuse.benchmarks.stacks.folders import StackToScore
from ufafuse.benchmarks.stacks.registered import BESTS, Registered
from ufafuse.benchmarks.tables import cell, csv_text, legend, markdown_table
from ufafuse.runtime.arrays import Bytes
from ufafuse.runtime.artefact import atomic_write, write_json
from ufafuse.runtime.writing import make_folder, write_text

_TEMPLATE = Path(__file__).with_name("page.html")
_WHOLE_SIDE = 640
_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
_NOTE = (
    "detail_sharp, detail_low: the share of the area where a picture keeps at least 70 % of the local RMS that the sharpest "
    "registered frame has in its fine structure, in the half of more and in the half of less detail; places without detail "
    "above the noise take no part. detail_added: the share of the area with more structure than any frame has: speckle, rings, "
    "mottling; less is better. PSNR and SSIM against the truth, where there is one; best frame takes of each pixel the frame "
    "closest to the truth, which is the most that choosing can give, luck with the noise of single pixels included; best "
    "window the frame closest to it over the 7 x 7 pixels around."
)


@dataclass
class StackPages:
    """Collects what the page shows of each stack; pass `add` to `evaluate_stacks` as ``on_stack``.

    Args:
        folder: Where everything is written.
    """

    folder: Path
    sections: dict[str, str] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)

    def add(self, stack: StackToScore, frames: Registered, made: Mapping[str, Bytes]) -> None:
        """Choose the parts of a stack's pictures and keep them. Raises: OutputError."""
        shown = {"near": frames.near, "far": frames.far, "sharpest": frames.sharpest}
        shown |= {name: picture for name, picture in made.items() if name not in BESTS}
        shown |= {} if frames.truth is None else {"truth": frames.truth}
        fused = [picture for name, picture in made.items() if name not in BESTS]
        regions = chosen_regions(fused, frames.sharpest, frames.crop)
        path = self.folder / CLOSEUPS_FOLDER / f"{stack.name}.jpg"
        make_folder(path.parent)
        with atomic_write(path, force=True) as temporary:
            temporary.write_bytes(_jpeg(strip(shown, regions)))
        self.notes[stack.name] = [_registered(frames), *frames.notes]
        notes = "".join(f'<p class="note">{escape(note)}</p>' for note in self.notes[stack.name])
        whole = _whole(fused[0] if fused else frames.sharpest, regions)
        self.sections[stack.name] = f"{notes}\n{whole}\n{_parts(shown, regions)}"

    def write(
        self, evaluation: Evaluation, rows: list[TableRow], *, title: str, result: dict[str, Any] | None = None
    ) -> list[Path]:
        """Write ``index.html``, ``report.md``, ``eval.csv`` and ``eval.json``.

        Args:
            evaluation: What was scored.
            rows: The means, as `tables.measured_rows` has them.
            title: The page's heading.
            result: What ``eval.json`` holds: what the command's JSON says. None: the evaluation alone.

        Raises:
            OutputError: A file cannot be written.
        """
        names = list(dict.fromkeys(row.name for row in evaluation.rows))
        write_json(self.folder / "eval.json", evaluation.to_json() if result is None else result)
        failures = "".join(f"<li>{escape(line)}</li>" for line in evaluation.failures())
        html = Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(
            title=escape(title),
            note=escape(_NOTE),
            table=html_table(rows) + "".join(f'\n<p class="note">{escape(note)}</p>' for note in _row_notes(rows)),
            failures=f"<h2>Failed</h2><ul>{failures}</ul>" if failures else "",
            stacks="\n".join(
                f'<h2 id="{escape(name)}">{escape(name)}</h2>\n{_scores_html(evaluation, name)}\n{self.sections.get(name, "")}'
                for name in names
            ),
        )
        texts = {"eval.csv": csv_text(evaluation), "report.md": self._markdown(evaluation, rows, title), "index.html": html}
        for name, text in texts.items():
            write_text(self.folder / name, text, force=True)
        return [self.folder / name for name in ("index.html", "report.md", "eval.csv", "eval.json")]

    def _markdown(self, evaluation: Evaluation, rows: list[TableRow], title: str) -> str:
        parts = [f"# {title}", _NOTE, markdown_table(rows), f"What the rows are: {legend(rows)}.", *_row_notes(rows)]
        if evaluation.failed:
            parts.append("## Failed\n\n" + "\n".join(f"- {line}" for line in evaluation.failures()))
        for name in dict.fromkeys(row.name for row in evaluation.rows):
            scored = [row for row in evaluation.rows if row.name == name and not row.error]
            parts.append(f"## {name}")
            parts.append("\n".join(f"- {row.method}: {_scores(row)}" for row in scored))
            parts.append("\n".join(f"- {note}" for note in self.notes.get(name, ())))
            if name in self.sections:
                parts.append(f"![{name}]({quote(f'{CLOSEUPS_FOLDER}/{name}.jpg', errors='surrogateescape')})")
        return "\n\n".join(part for part in parts if part) + "\n"


def _row_notes(rows: list[TableRow]) -> list[str]:
    """What has to be known of rows of the table: means that are over fewer stacks than others."""
    return [f"{row.method}, {row.what}: {row.note}." for row in rows if row.note]


def _registered(frames: Registered) -> str:
    how = (
        "not registered"
        if frames.align == "off"
        else f"registered ({frames.align}) to {frames.sources[frames.pyramid.reference].name}"
    )
    return f"{len(frames.sources)} frames of {frames.size[1]} x {frames.size[0]}, {how}."


def _scores(row: EvalRow) -> str:
    values = [
        f"{name} {cell(name, value, short=name not in SHARES)}" for name, value in row.metrics.items() if math.isfinite(value)
    ]
    return ", ".join(values) + (f" ({row.note})" if row.note else "")


def _scores_html(evaluation: Evaluation, name: str) -> str:
    rows = [row for row in evaluation.rows if row.name == name and not row.error]
    return "<ul>" + "".join(f"<li><b>{escape(row.method)}</b> {escape(_scores(row))}</li>" for row in rows) + "</ul>"


def _jpeg(picture: Bytes) -> bytes:
    done, data = cv2.imencode(".jpg", picture, _JPEG)
    assert done
    return bytes(data.tobytes())


def _embedded(picture: Bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(_jpeg(picture)).decode("ascii")


def _whole(picture: Bytes, regions: Mapping[str, Region]) -> str:
    """The whole picture, small, with the parts drawn on it."""
    height, width = picture.shape[:2]
    factor = min(1.0, _WHOLE_SIDE / max(height, width))
    side = max(1, round(width * factor)), max(1, round(height * factor))
    small = np.asarray(cv2.resize(picture, side, interpolation=cv2.INTER_AREA), np.uint8)
    boxes = "".join(
        f'<div class="box" style="left:{100 * r.left / width:.2f}%;top:{100 * r.top / height:.2f}%;'
        f'width:{100 * r.side / width:.2f}%;height:{100 * r.side / height:.2f}%"><span>{number}</span></div>'
        for number, r in enumerate(regions.values(), 1)
    )
    return f'<div class="whole"><img src="{_embedded(small)}" alt="the whole picture">{boxes}</div>'


def _parts(pictures: Mapping[str, Bytes], regions: Mapping[str, Region]) -> str:
    """A table of 1:1 parts: a row for each region, a column for each picture."""
    head = "<tr><th></th>" + "".join(f"<th>{escape(name)}</th>" for name in pictures) + "</tr>"
    rows = [head]
    for number, (what, region) in enumerate(regions.items(), 1):
        cuts = "".join(
            f'<td><img src="{_embedded(region.cut(picture))}" width="{region.side}" height="{region.side}" '
            f'alt="{escape(name)}, {escape(what)}"></td>'
            for name, picture in pictures.items()
        )
        rows.append(f"<tr><th>{number} {escape(what)}<br>{region.left}, {region.top}</th>{cuts}</tr>")
    return '<div class="table"><table class="parts">' + "\n".join(rows) + "</table></div>"
