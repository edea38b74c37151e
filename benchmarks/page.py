"""A page to look at: the table of methods, and for every pair the pictures and the same close-up of each, side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote

import cv2
import numpy as np

from ufafuse.benchmarks.evaluate import EvalRow, Evaluation, keep_picture, picture_path
from ufafuse.benchmarks.frames import alike
from ufafuse.benchmarks.methods import method, methods
from ufafuse.benchmarks.metrics.planes import as_levels, grey
from ufafuse.benchmarks.metrics.white import White
from ufafuse.benchmarks.published import HERE, Table, TableRow
from ufafuse.benchmarks.tables import TIME, best, cells, columns, csv_text, header, is_best, legend, markdown_table
from ufafuse.runtime.arrays import Bytes
from ufafuse.runtime.artefact import write_json
from ufafuse.runtime.images import read_image, write_image
from ufafuse.runtime.pairs import PairPaths
from ufafuse.runtime.pictures.write import WriteOptions
from ufafuse.runtime.writing import make_folder, write_text

FUSED_FOLDER, SOURCES_FOLDER, CLOSEUPS_FOLDER = "fused", "sources", "closeups"
_TEMPLATE = Path(__file__).with_name("page.html")
_SHARE_OF_SIDE = 6
_TILE, _CAPTION, _TILES_PER_ROW = 240, 26, 6
_STRIP_QUALITY = 88
_CAPTION_METRICS = ("Qabf", "VIFF", "PSNR")

_LOOKING = (
    '<div class="looking"><label><input type="checkbox" id="closer"> close-ups only</label><label>size <input type="range" '
    'min="120" max="700" value="210" oninput="document.body.style.setProperty(\'--tile\', this.value + \'px\')"></label></div>'
)


@dataclass(frozen=True)
class Region:
    """A square cut of a picture of ``height`` x ``width``: its top left corner and its side, in pixels."""

    top: int
    left: int
    side: int
    height: int
    width: int

    def cut(self, picture: Bytes) -> Bytes:
        """The region of ``picture``."""
        return picture[self.top : self.top + self.side, self.left : self.left + self.side]


def write_pages(
    folder: Path,
    evaluation: Evaluation,
    rows: list[TableRow],
    pairs: list[PairPaths],
    *,
    title: str,
    table: Table | None = None,
    warnings: Sequence[str] = (),
    result: dict[str, Any] | None = None,
) -> list[Path]:
    """Write ``index.html``, ``report.md``, ``eval.csv`` and ``eval.json`` into ``folder``, and the pictures they show.

    Args:
        folder: Holds the fused pictures that `evaluate` wrote, in `FUSED_FOLDER`.
        evaluation: What was scored.
        rows: The table's rows, measured and published.
        pairs: Those of the pairs that are shown.
        title: The page's heading.
        table: The paper's table behind the published rows, for its note.
        warnings: What has to be said of the whole; it stands above the table.
        result: What ``eval.json`` holds: what the command's JSON says. None: the evaluation alone.

    Raises:
        OutputError: A file cannot be written.
    """
    sections = [_section(folder, pair, evaluation) for pair in pairs]
    head = [*warnings, _note(evaluation)]
    write_json(folder / "eval.json", evaluation.to_json() if result is None else result)
    texts = {
        "eval.csv": csv_text(evaluation),
        "report.md": _markdown(evaluation, rows, pairs, title=title, head=head, table=table),
        "index.html": _html(evaluation, rows, sections, title=title, head=head, table=table),
    }
    for name, text in texts.items():
        write_text(folder / name, text, force=True)
    return [folder / "index.html", folder / "report.md", folder / "eval.csv", folder / "eval.json"]


def telling_region(near: Bytes, far: Bytes, fused: list[Bytes]) -> Region:
    """Where the fused pictures differ most from one another; with one alone, where it differs most from the sharper source."""
    height, width = near.shape[:2]
    side = max(16, min(height, width) // _SHARE_OF_SIDE)
    side = min(side, height, width)
    greys = [grey(picture) for picture in fused]
    if len(greys) < 2:
        greys += [grey(near), grey(far)]
    # Quantiles, so that one picture that is blurred everywhere does not decide alone.
    spread = np.subtract(*np.quantile(np.stack(greys), (0.8, 0.2), axis=0))
    score = cv2.blur(spread, (side, side))[side // 2 : height - (side - 1) // 2, side // 2 : width - (side - 1) // 2]
    top, left = np.unravel_index(int(np.argmax(score)), score.shape)
    return Region(int(top), int(left), side, height, width)


def _section(folder: Path, pair: PairPaths, evaluation: Evaluation) -> str:
    rows = [row for row in evaluation.rows if row.name == pair.name and not row.error]
    if not rows:
        return ""
    frames = alike(read_image(pair.near), read_image(pair.far))
    sources = dict(zip(("near", "far"), frames, strict=True)) | ({"truth": read_image(pair.truth)} if pair.truth else {})
    white = White.of_frames(frames)
    pictures: dict[str, tuple[str, Bytes, str]] = {}
    for name, picture in sources.items():
        levels = white.bytes(picture)
        path = keep_picture(folder / SOURCES_FOLDER, name, pair.name, levels)
        pictures[name] = (_link(folder, path), levels, "")
    for row in rows:
        path = picture_path(folder / FUSED_FOLDER, row.method, pair.name)
        if not path.is_file():
            continue  # of an earlier run that kept no pictures
        pictures[f"{row.method} "] = (_link(folder, path), as_levels(read_image(path)), _scores(row))
    every = [picture for _, picture, _ in pictures.values()]
    region = telling_region(every[0], every[1], every[len(sources) :])
    strip = folder / _strip_name(pair.name)
    make_folder(strip.parent)
    tiles = closeup_strip({name.strip(): entry[1] for name, entry in pictures.items()}, region)
    write_image(strip, tiles, force=True, options=WriteOptions(quality=_STRIP_QUALITY))
    figures = "\n".join(_figure(name.strip(), link, scores, region) for name, (link, _, scores) in pictures.items())
    return f'<h2 id="{escape(pair.name)}">{escape(pair.name)}</h2>\n<div class="grid">\n{figures}\n</div>'


def _strip_name(pair: str) -> str:
    """A pair's close-ups, below the page's folder: a JPEG, which at the quality that is written is a third of a PNG."""
    return f"{CLOSEUPS_FOLDER}/{pair}.jpg"


def _link(folder: Path, path: Path) -> str:
    return quote(path.relative_to(folder).as_posix(), errors="surrogateescape")


def _scores(row: EvalRow) -> str:
    parts = [f"{name} {row.metrics[name]:.4g}" for name in _CAPTION_METRICS if name in row.metrics]
    return ", ".join(parts + ([] if row.ms is None else [f"{row.ms:.0f} ms"]))


def _figure(name: str, link: str, scores: str, region: Region) -> str:
    def percent(part: float, whole: float) -> str:
        return f"{100 * part / whole:.3f}%"

    box = (
        f"left:{percent(region.left, region.width)};top:{percent(region.top, region.height)};"
        f"width:{percent(region.side, region.width)};height:{percent(region.side, region.height)}"
    )
    # In the close-up the whole picture is scaled so that the region fills the frame, and shifted to the region's corner.
    zoom = (
        f"width:{percent(region.width, region.side)};left:{percent(-region.left, region.side)};"
        f"top:{percent(-region.top, region.side)}"
    )
    image = f'<img loading="lazy" src="{link}" alt="{escape(name)}"'
    return (
        f'<figure><div class="whole">{image}><div class="box" style="{box}"></div></div>'
        f'<div class="close">{image} style="{zoom}"></div>'
        f"<figcaption><b>{escape(name)}</b>{escape(scores)}</figcaption></figure>"
    )


def closeup_strip(pictures: dict[str, Bytes], region: Region) -> Bytes:
    """The region of every picture in rows of six labelled tiles: H x W x 3, BGR."""
    tiles = []
    for name, picture in pictures.items():
        cut = region.cut(picture if picture.ndim == 3 else picture[..., None].repeat(3, axis=2))
        tile = np.full((_TILE + _CAPTION, _TILE, 3), 255, np.uint8)
        tile[_CAPTION:] = cv2.resize(cut, (_TILE, _TILE), interpolation=cv2.INTER_NEAREST)
        cv2.putText(tile, name[:24], (4, _CAPTION - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (40, 40, 40), 1, cv2.LINE_AA)
        tiles.append(tile)
    per_row = min(_TILES_PER_ROW, len(tiles))
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % per_row)
    rows = [np.hstack(tiles[start : start + per_row]) for start in range(0, len(tiles), per_row)]
    return np.vstack(rows)


def _note(evaluation: Evaluation) -> str:
    count = len({row.name for row in evaluation.rows if not row.error})
    pairs = "1 pair" if count == 1 else f"{count} pairs"
    return (
        f"Means over {pairs}; more is better in every column but LPIPS and the time. AVG, STD, SEN and Qabf are taken on "
        "the red channel, as the paper's tables were; VIFF, Qc (Cvejic's measure), Qm, Qcb (Chen and Blum's), Qmi, Qncie, "
        "Qs and Qw (Piella's) on float grey."
    )


_TIMES = (
    "Times: of printed rows the paper's own, on its machine; of rows run here the median of a fusion in this run, beside "
    "whatever else the machine did. `ufa bench` measures speed."
)


def _row_notes(rows: list[TableRow], table: Table | None) -> list[str]:
    notes = [f"{row.method}, {row.what}: {row.note}." for row in rows if row.note]
    times = [_TIMES] if TIME in columns(rows) else []
    what = f"What the rows are: {legend(rows)}."
    return [what, *times, *([table.note] if table else []), *notes]


def _html(
    evaluation: Evaluation, rows: list[TableRow], sections: list[str], *, title: str, head: list[str], table: Table | None
) -> str:
    failures = "".join(f"<li>{escape(line)}</li>" for line in evaluation.failures())
    about = "".join(f"<li><b>{escape(name)}</b>: {escape(text)}</li>" for name, text in _about(rows).items())
    return Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=escape(title),
        note="</p><p class=note>".join(map(escape, head)),
        table=html_table(rows),
        notes="".join(f'<p class="note">{escape(note)}</p>' for note in _row_notes(rows, table)),
        about=f"<details><summary>The methods and their papers</summary><ul>{about}</ul></details>" if about else "",
        failures=f"<h2>Failed</h2><ul>{failures}</ul>" if failures else "",
        looking=_LOOKING if any(sections) else "",
        pairs="\n".join(sections),
    )


def _about(rows: list[TableRow]) -> dict[str, str]:
    """Of each method that was run, its paper and where it differs from it."""
    run = [row.method for row in rows if row.source in HERE]
    found = {name: method(name) for name in run if name in methods()}
    return {name: f"{entry.citation}." + (f" Here: {entry.note}." if entry.note else "") for name, entry in found.items()}


def html_table(rows: list[TableRow]) -> str:
    """The table of methods as HTML."""
    names = columns(rows)
    top = best(rows, names)
    lines = ["<table>", "<tr>" + "".join(f"<th>{escape(head)}</th>" for head in header(names)) + "</tr>"]
    for row in rows:
        first, what, *values = (escape(cell) for cell in cells(row, names))
        marked: Any = zip(values, names, strict=True)
        middle = "".join(f"<td{' class=best' if is_best(row, name, top) else ''}>{value}</td>" for value, name in marked)
        kind = "measured" if row.source in HERE else "other"
        lines.append(f'<tr class="{kind}"><td>{first}</td><td>{what}</td>{middle}</tr>')
    return "\n".join([*lines, "</table>"])


def _markdown(
    evaluation: Evaluation, rows: list[TableRow], pairs: list[PairPaths], *, title: str, head: list[str], table: Table | None
) -> str:
    parts = [f"# {title}", *head, markdown_table(rows), *_row_notes(rows, table)]
    if about := _about(rows):
        parts.append("## Methods\n\n" + "\n".join(f"- `{name}`: {text}" for name, text in about.items()))
    if evaluation.failed:
        parts.append("## Failed\n\n" + "\n".join(f"- {line}" for line in evaluation.failures()))
    scored = {row.name for row in evaluation.rows if not row.error}
    shown = [pair.name for pair in pairs if pair.name in scored]
    if not shown:
        return "\n\n".join(parts) + "\n"
    parts.append("## Close-ups\n\nWhere the pictures of a pair differ most; `index.html` shows them whole.")
    parts += [f"### {name}\n\n![{name}]({quote(_strip_name(name), errors='surrogateescape')})" for name in shown]
    return "\n\n".join(parts) + "\n"
