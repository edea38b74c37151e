"""`ufa eval` and `ufa bench`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ufafuse.runtime import console
from ufafuse.runtime.errors import OutputError

if TYPE_CHECKING:
    from ufafuse.benchmarks.contestants import Contestant
    from ufafuse.benchmarks.evaluate import Evaluation
    from ufafuse.runtime.pairs import PairPaths

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Backend = Annotated[str, typer.Option(help="Engine of the models: auto, tensorrt, onnxruntime or openvino.")]
Precision = Annotated[str | None, typer.Option(help="Arithmetic of the models; left away, the backend chooses.")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads of a model; left away, the backend chooses.")]


def register(app: typer.Typer) -> None:
    """Add this folder's commands to ``app``."""
    app.command("eval")(evaluate)


def evaluate(
    *,
    pairs: Annotated[Path, typer.Option(help="A folder of pairs: NAME_A.* + NAME_B.* [+ NAME_GT.*], or near/ + far/ [+ gt/].")],
    fused: Annotated[list[Path] | None, typer.Option(help="A folder of fused pictures, or of such. Repeatable.")] = None,
    model: Annotated[list[str] | None, typer.Option(help="A network: a bundled name or a file. Repeatable.")] = None,
    methods: Annotated[str, typer.Option(help="Classical methods and bundled networks, by comma; or all.")] = "",
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Write a page, CSV, JSON and the pictures here.")] = None,
    table: Annotated[str | None, typer.Option(help="Set the paper's table beside it: V, VI or VII.")] = None,
    only: Annotated[str | None, typer.Option(help="Only pairs whose name matches, such as 'lytro_0*'.")] = None,
    backend: Backend = "auto",
    precision: Precision = None,
    threads: Threads = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes; left away, one a core.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Write into a folder that is not empty.")] = False,
    as_json: Json = False,
) -> None:
    """Score fused pictures by the paper's seven metrics (and PSNR and SSIM where the truth is known).

    The pictures come from folders, networks or classical methods; with none of them named, from the bundled network.
    """
    with console.run(as_json):
        from ufafuse.benchmarks.contestants import contestants
        from ufafuse.benchmarks.evaluate import chosen_pairs
        from ufafuse.benchmarks.published import published_table

        chosen = chosen_pairs(pairs, only)
        beside = published_table(table) if table else None
        _checked_folder(out, force=force)
        names = [name.strip() for name in methods.split(",") if name.strip()]
        compared = contestants(
            fused=fused or [], models=model or [], method_names=names, backend=backend, precision=precision, threads=threads
        )
        try:
            evaluation = _evaluated(chosen, compared, out, jobs)
        finally:
            for contestant in compared:
                contestant.close()

        from ufafuse.benchmarks.tables import measured_rows, terminal_table, with_published

        rows = with_published(measured_rows(evaluation), beside)
        title = f"{pairs.resolve().name}: fusion quality" + (f", beside Table {table.upper()}" if table else "")
        result = evaluation.to_json()
        if out is not None:
            from ufafuse.benchmarks.page import write_pages

            written = write_pages(out, evaluation, rows, chosen, title=title, table=beside)
            result["files"] = [str(path) for path in written]
        console.emit(result, as_json=as_json)
        if not as_json:
            console.out.print(terminal_table(rows, title, console.out))
        for row in evaluation.failed:
            console.fail(f"{row.method}, {row.name}: {row.error}")
        for path in result.get("files", []):
            console.wrote(path, as_json=as_json)
    if evaluation.failed:
        raise typer.Exit(1)


def _checked_folder(out: Path | None, *, force: bool) -> None:
    if out is None:
        return
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out} is a file: give -o a folder.")
    if out.is_dir() and any(out.iterdir()) and not force:
        raise OutputError(f"{out} is not empty: choose another folder, or add --force to write into it.")


def _evaluated(pairs: "list[PairPaths]", compared: "list[Contestant]", out: Path | None, jobs: int | None) -> "Evaluation":
    from ufafuse.benchmarks.evaluate import evaluate as evaluate_pairs

    with console.progress() as bar:
        task = bar.add_task("scoring", total=len(pairs) * len(compared))
        pictures = out / "fused" if out else None
        return evaluate_pairs(pairs, compared, jobs=jobs, pictures=pictures, done=lambda _: bar.advance(task))
