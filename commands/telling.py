"""What `ufa fuse` tells people: first what was written, then what was decided for them, then the warnings."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ufafuse.runtime import console
from ufafuse.runtime.batches.storage import shown
from ufafuse.runtime.maker import PYRAMID
from ufafuse.runtime.texts import examples, few_of_a_kind
from ufafuse.runtime.writing import EXISTS

if TYPE_CHECKING:
    from ufafuse.commands.many import Done
    from ufafuse.runtime.files import Outcome
    from ufafuse.runtime.fuser import Fuser
    from ufafuse.runtime.maker import Maker

_PASSED = 6  # of what was no pair or stack
_MENDED = {
    "hot_pixels": ("hot pixel mended", "hot pixels mended"),
    "dust": ("spot of dust lightened", "spots of dust lightened"),
}


def tell_one(fuser: Fuser, outcome: Outcome, made: Maker) -> None:
    """One pair or stack: its files, what was done to the frames, the engine."""
    for path in written(outcome):
        console.wrote(path)
    done = done_to(outcome)
    if done:
        console.out.print(console.escape("; ".join(done)))
    _tell_engine(fuser, made)


def tell_many(fuser: Fuser, done: Done, made: Maker) -> None:
    """A folder: a table of the pairs, how many were fused, how fast, the engine."""
    outcomes, skipped = done.outcomes, done.skipped
    if outcomes:
        console.out.print(_table(outcomes))
    failed = sum(1 for outcome in outcomes if outcome.error)
    told = [f"{len(outcomes) - failed} of {len(outcomes) + skipped} fused"]
    told += [f"{skipped} were there already"] if skipped else []
    told += [f"{failed} failed"] if failed else []
    if len(outcomes) - failed > 1:
        told.append(f"{done.speed()['per_second']:.3g} a second")
    console.out.print(", ".join(told))
    _tell_engine(fuser, made)


def warn_and_fail(outcomes: Sequence[Outcome], passed: Sequence[str] = (), *, errors: bool = True) -> None:
    """Warnings, what was ``passed`` over, and ``errors`` (unless told already) on stderr; those of one kind in one line."""
    warn_of_passed(passed)
    warned: dict[str, list[str]] = {}
    for outcome in outcomes:
        for warning in outcome.warnings:
            warned.setdefault(warning, []).append(outcome.fused.name)
    for line in few_of_a_kind(f"{examples(names)}: {warning}" for warning, names in warned.items()):
        console.warn(line)
    if not errors:
        return
    there = [outcome.fused for outcome in outcomes if EXISTS in outcome.error]
    if len(there) > 1:
        console.fail(
            f"{len(there)} results exist already ({examples([path.name for path in there])}): add --skip-existing to fuse "
            "the others only, or --force to replace them."
        )
    for outcome in outcomes:
        if outcome.error and not (len(there) > 1 and EXISTS in outcome.error):
            console.fail(outcome.error)


def warn_of_passed(passed: Sequence[str]) -> None:
    """One line on what was ``passed`` over; none where nothing was."""
    if passed:
        more = f"; and {len(passed) - _PASSED} more" if len(passed) > _PASSED else ""
        console.warn(f"passed over: {'; '.join(passed[:_PASSED])}{more}.")


def unpaired_in(pairs: Path | None) -> dict[str, list[str]]:
    """The entry of a report on what a folder of pairs holds beside them; empty where that is nothing. Raises: InputError."""
    from ufafuse.runtime.pairs import find_pairs

    passed: list[str] = []
    if pairs is not None:
        find_pairs(pairs, passed=passed)
    return {"passed_over": passed} if passed else {}


def written(outcome: Outcome) -> list[Path]:
    """The files of a result that was fused."""
    kinds = ("map", "confidence", "conflicts", "depth", "depth_view", "mesh", "report")
    beside = [outcome.details[kind] for kind in kinds if kind in outcome.details]
    return [] if outcome.error else [outcome.fused, *(Path(path) for path in beside if isinstance(path, str))]


def done_to(outcome: Outcome) -> list[str]:
    """What was done to the frames, each in a few words, from the entries of the report."""
    details = outcome.details
    count = 2 + len(details.get("more", []))
    told = [f"{count} frames" if count > 2 else ""]
    told += ["chosen by detail alone (--method pyramid)" if details.get("method") == "pyramid" else ""]
    noise = f", for noise of {details['noise']:g} levels" if "noise" in details else ""
    told += [f"smoothing {details['smoothing']:g}{noise}" if "smoothing" in details else ""]
    if "restored" in details:
        share, most = details["restored"]
        where = f"{100 * share:.0f} %" if share >= 0.005 else "less than 1 %"
        told.append(f"detail between planes of focus raised in {where} of the picture, up to {most:.1f} times")
    left_out = [Path(name).name for name in details.get("left_out", {})]
    told += [f"{examples(left_out)} took no part" if left_out else ""]
    told += [f"reference {Path(str(details['reference'])).name}" if "reference" in details else ""]
    if "alignment" in details:
        moved = [entry for entry in details["alignment"] if not entry.get("refused") and entry["moved_px"]]
        farthest = max(moved, key=itemgetter("moved_px"), default=None)
        told.append(f"moved by up to {farthest['moved_px']:.1f} pixels ({farthest['motion']})" if farthest else "not moved")
    if "gain" in details:
        factors = [factor for factors in details["gain"] for factor in factors]
        low, high = f"{min(factors):.3f}", f"{max(factors):.3f}"
        told.append(f"levels times {low}" + (f" to {high}" if high != low else ", as they were" if low == "1.000" else ""))
    told += [_counted(details[key], of) for key, of in _MENDED.items() if key in details]
    told.append(_levels(details))
    order = details.get("order", "")
    told.append(
        order if isinstance(order, str) else f"put in the order of focus: {examples([Path(name).name for name in order])}"
    )
    if "lights" in details or "stark" in details:
        from ufafuse.runtime.lights import Lights

        told.append(f"by ufa-stack, for {Lights(details.get('lights', 0.0), details.get('stark', 0.0)).why}")
    if "tiles" in details:
        told.append(f"in {details['tiles']['count']} tiles")
    return [text for text in told if text]


def _counted(count: int, of: tuple[str, str]) -> str:
    return f"{count} {of[count != 1]}"


def _levels(details: dict[str, Any]) -> str:
    """The level of white where it is another than one thinks, with the reason; and that dark frames were made brighter."""
    white, why, seen = details.get("white"), details.get("white_found", ""), details.get("seen_as_white", 0)
    if not isinstance(white, (int, float)) or (white in (255, 65535, 1) and why != "given" and white == seen):
        return ""
    darker = white / seen if seen else 1
    told = f"white {white:g}" + (f" ({why})" if why else "")
    return told + (f", seen {darker:g} times brighter" if darker >= 2 else "")


def _tell_engine(fuser: Fuser, made: Maker) -> None:
    """Network, arithmetic and engine with the reasons; and that int8 would be faster, where it would."""
    console.out.print(console.escape(f"{Path(made.model).name} in {made.precision} on {made.backend} ({made.why})"))
    if fuser.choice.faster and made.model != PYRAMID:
        console.out.print("[dim]faster here, in int8: --prefer speed[/dim]")


def _table(outcomes: Sequence[Outcome]) -> Any:  # noqa: ANN401 - rich is imported here only
    from rich.table import Table

    table = Table()
    for head in ("pair", "size", "result"):
        table.add_column(head, no_wrap=True, overflow="ellipsis")
    for outcome in outcomes:
        size = "x".join(map(str, outcome.size)) if outcome.size else ""
        result = "[red]failed[/red]" if outcome.error else console.escape(shown(outcome.fused))
        table.add_row(console.escape(outcome.fused.stem), size, result)
    return table
