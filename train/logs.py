"""What a run leaves to look at: a CSV, TensorBoard events, a progress bar or plain lines on stderr."""

import contextlib
import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from numpy.typing import NDArray
from rich.progress import Progress as Bar
from rich.progress import TaskID

from ufafuse.runtime import console
from ufafuse.runtime.artefact import atomic_write
from ufafuse.runtime.errors import OutputError

COLUMNS: tuple[str, ...] = ("step", "seconds", "loss", "lr", "images_per_second", "val_psnr", "val_ssim")
_STEP, _VALUE = re.compile("[0-9]{1,15}"), re.compile(r"(-?[0-9]+(\.[0-9]+)?(e[-+]?[0-9]+)?|nan|-?inf)?")


class RunLog:
    """Writes a run's rows; a context manager. With `quiet` (all processes but the first) it writes nothing.

    What cannot be written, as where the disk is full, is an `OutputError` that names the file.
    """

    def __init__(self, folder: Path, *, step: int, total: int, quiet: bool = False) -> None:
        """Go on after `step` (rows beyond it, of an interrupted run, are dropped); `total` is the bar's length."""
        self.folder, self.quiet = folder, quiet
        self._total, self._start = total, step
        self._file: TextIO | None = None
        self._bar: Bar = console.progress()
        self._task: TaskID | None = None

    def __enter__(self) -> "RunLog":
        """Open the files and show the bar."""
        if self.quiet:
            return self
        from torch.utils.tensorboard import SummaryWriter

        path, events = self.folder / "log.csv", self.folder / "tensorboard"
        keep_rows(path, self._start)
        with _named(path), contextlib.ExitStack() as opened:
            file = opened.enter_context(path.open("a", newline="", buffering=1))
            self._rows = csv.DictWriter(file, COLUMNS)
            if path.stat().st_size == 0:
                self._rows.writeheader()
            with _named(events):
                self._events = SummaryWriter(str(events), purge_step=self._start + 1)
            opened.pop_all()
        self._file = file
        self._bar.start()
        self._task = self._bar.add_task("training", total=self._total, completed=self._start)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the files."""
        if self._file is None:
            return
        self._bar.stop()
        for path, opened in ((self._file.name, self._file), (self._events.log_dir, self._events)):
            # Closing writes what is left: where that failed before, it fails again, and the first error says why.
            with contextlib.nullcontext() if error is None else contextlib.suppress(OutputError), _named(Path(path)):
                opened.close()

    def advance(self, done: int) -> None:
        """Move the bar to `done` of its total."""
        if self._task is not None:
            self._bar.update(self._task, completed=min(done, self._total))

    def live(self, losses: Sequence[float], speed: str) -> None:
        """Show the mean loss since the last row, and the rate, where somebody looks."""
        if self._task is not None and console.err.is_terminal:
            loss = sum(losses) / max(len(losses), 1)
            self._bar.update(self._task, description=f"loss {loss:.5f}  {speed}")

    def row(self, step: int, values: Mapping[str, float], line: str) -> None:
        """Write one row of the CSV and its events, and say `line`."""
        if self._file is None or self._task is None:
            return
        with _named(self.folder / "log.csv"):
            self._rows.writerow({"step": step, **{key: f"{value:.6g}" for key, value in values.items()}})
        with _named(self.folder / "tensorboard"):
            for key, value in values.items():
                self._events.add_scalar(key, value, step)
        if not (console.err.is_terminal and "loss" in values):  # `live` shows the loss there
            console.err.print(line)

    def picture(self, step: int, picture: NDArray[Any]) -> None:
        """Add a picture (uint8 H x W x 3, BGR) to the events."""
        if self._file is not None:
            with _named(self.folder / "tensorboard"):
                self._events.add_image("validation", picture[..., ::-1].copy(), step, dataformats="HWC")


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Raise what goes wrong with a file of the run as an `OutputError` that names it."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}.") from error


def keep_rows(path: Path, step: int) -> None:
    """Drop the rows of a CSV beyond `step`: the resumed run writes them again."""
    if not path.exists():
        return
    names, *lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    rows = [dict(zip(names.strip().split(","), line.strip().split(","), strict=False)) for line in lines]
    kept = [row for row in rows if _are_numbers(row) and int(row["step"]) <= step]
    with atomic_write(path, force=True) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(kept)


def _are_numbers(row: Mapping[str, str]) -> bool:
    """Whether a row is as it was written."""
    return bool(_STEP.fullmatch(row.get("step", ""))) and all(_VALUE.fullmatch(value) for value in row.values())
