"""The formats besides ONNX in `ufa export --all`: each made, or kept from a run before, or left out with the reason."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ufafuse.export.form import FREE, Form
from ufafuse.export.formats.base import Format
from ufafuse.export.formats.exporting import Cases, format_from_weights
from ufafuse.export.formats.known import FORMATS, NOT_HAD
from ufafuse.export.overview import ArtefactRow
from ufafuse.network.spec import Spec
from ufafuse.runtime.artefact import check_files, read_manifest, sha256_of
from ufafuse.runtime.errors import InputError, ModelError, OutputError, UfaError
from ufafuse.runtime.parameters import Size

ENGINE = "engine"  # TensorRT's, which `ufa build` makes
EVERY = ("onnx", *(each.name for each in FORMATS), ENGINE)


def check_names(names: Sequence[str]) -> tuple[str, ...]:
    """The formats that are asked for; all of them where none is named. Raises: InputError for one that is not known."""
    strange = next((name for name in names if name not in EVERY), None)
    if strange is not None:
        raise InputError(f"`formats={strange}` is not known: choose from {', '.join(EVERY)}.")
    return tuple(names) or EVERY


def format_rows(
    weights: Path,
    spec: Spec,
    folder: Path,
    names: Sequence[str],
    size: Size,
    left_out: list[str],
    *,
    force: bool,
    on_step: Callable[[str], None],
    done: Callable[[str], None],
) -> Iterator[ArtefactRow]:
    """A row for each file; of formats that want a size, for frames of this (height, width)."""
    cases: Cases = {}
    for chosen in FORMATS:
        if chosen.name not in names:
            continue
        if chosen.missing:
            left_out.append(f"{chosen.title}: {chosen.missing[0]} is not installed (pip install 'ufafuse[{chosen.extra}]')")
            continue
        form = FREE if chosen.free else Form(size=size)
        for precision in chosen.precisions:
            out = _place(folder, spec, chosen, precision)
            row = ArtefactRow(
                out,
                precision,
                "float",
                format=chosen.name,
                argument=_argument(chosen, precision, form),
                runs_on=chosen.runs_on,
                note=chosen.why_not_run,
            )
            if _whole(out, weights, chosen, precision, form) and not force:
                row.kept = True
                yield row
                continue
            on_step(f"making {out.name}")
            try:
                replace = force or _ours(out, weights)
                format_from_weights(weights, out, chosen, precision=precision, form=form, force=replace, cases=cases)
            except UfaError as error:
                left_out.append(f"{out.name}: {error}")
                continue
            yield row
            done(out.name)
    if tuple(names) == EVERY:
        left_out += NOT_HAD


def check_in_the_way(weights: Path, spec: Spec, folder: Path, names: Sequence[str]) -> None:
    """Refuse (`OutputError`) a folder that holds files of other weights, before any work: its report would be replaced by one
    in which nothing was made of these.
    """
    for chosen in FORMATS:
        for precision in chosen.precisions if chosen.name in names and not chosen.missing else ():
            out = _place(folder, spec, chosen, precision)
            if os.path.lexists(out) and not _ours(out, weights):
                raise OutputError(
                    f"{out} exists already, and was not made of {weights}: choose another folder, or replace what is in it "
                    "with `force=True`."
                )


def _place(folder: Path, spec: Spec, chosen: Format, precision: str) -> Path:
    """Where a file of a format and precision lies."""
    marks = ("" if precision == "fp32" else f"-{precision}", chosen.mark)
    return folder / f"{spec.name}{''.join(marks)}{chosen.suffix}"


def _argument(chosen: Format, precision: str, form: Form) -> str:
    """What `ufa export` is told to make one file."""
    parts = [f"--format {chosen.name}"]
    parts += [] if precision == "fp32" else [f"--precision {precision}"]
    parts += [] if form.size is None else [f"--static {form.size[0]}x{form.size[1]}"]
    return " ".join(parts)


def _ours(out: Path, weights: Path) -> bool:
    """Whether a file is there that a run before made of the same weights; others' are not replaced unasked."""
    try:
        return out.exists() and read_manifest(out).weights_sha256 == sha256_of(weights)
    except UfaError:
        return False


def _whole(out: Path, weights: Path, chosen: Format, precision: str, form: Form) -> bool:
    """Whether a run before made exactly this, and all of it is there."""
    if not _ours(out, weights):
        return False
    manifest = read_manifest(out)
    facts = {key: manifest.extra.get(key) for key in ("static", "batch")}
    wanted = {key: form.to_dict().get(key) for key in facts}
    try:
        check_files(out, manifest.extra.get("files_sha256"))
    except ModelError:
        return False
    return facts == wanted and manifest.precision == precision and manifest.kind == chosen.kind
