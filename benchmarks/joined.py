"""Rows of an earlier evaluation of the same pairs: a method that takes an hour need not run again to stand beside a new one."""

import json
import math
import shutil
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from ufafuse.benchmarks.evaluate import EvalRow, Evaluation, picture_path
from ufafuse.benchmarks.published import KINDS, MEASURED
from ufafuse.runtime.artefact import atomic_write
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.filebytes import check_file
from ufafuse.runtime.writing import make_folder

_AGREES = 1e-5
_NOISY = {"Qc": 1e-2, "Qcb": 1e-4}
"""Metrics that rounding moves between machines, and by how much."""


def joined(evaluation: Evaluation, earlier: Path) -> Evaluation:
    """The evaluation with the rows of those methods of an earlier one that it does not have.

    That both are of the same pictures, scored alike, is seen from a method without training that both have: all of its metrics
    have to agree on every pair.

    Args:
        evaluation: Of pairs.
        earlier: The ``eval.json`` that `page.write_pages` wrote, or what ``--json`` printed.

    Raises:
        InputError: The file is no evaluation, is of other pairs, has no such method in common or differs in it.
    """
    found = _read(earlier)
    _check_names({row.name for row in evaluation.rows}, found, earlier)
    _check_same(evaluation, found, earlier)
    added = [row for row in found.rows if row.method not in evaluation.methods]
    methods = {row.method for row in added}
    networks = {name: facts for name, facts in found.networks.items() if name in methods}
    kinds = {name: kind for name, kind in found.kinds.items() if name in methods}
    return replace(
        evaluation,
        rows=[*evaluation.rows, *added],
        networks=evaluation.networks | networks,
        kinds=evaluation.kinds | kinds,
    )


def check_joinable(earlier: Path, pairs: Collection[str], methods: Collection[str]) -> None:
    """Refuse before the work what `joined` would refuse after it, as far as that can be seen.

    Args:
        earlier: As `joined` takes it.
        pairs: Names of those that will be scored.
        methods: Names of those without training that will be.

    Raises:
        InputError: As `joined`, but for values that differ.
    """
    found = _read(earlier)
    _check_names(set(pairs), found, earlier)
    if not any(row.method in methods for row in _untrained(found)):
        raise _nothing_shared(earlier)


def copy_pictures(earlier: Path, pictures: Path, methods: Collection[str], pairs: Collection[str]) -> None:
    """Copy the fused pictures that lie beside an earlier evaluation, where they do, to where `evaluate` writes them.

    Raises:
        OutputError: One cannot be written.
    """
    for method in methods:
        for pair in pairs:
            source = picture_path(earlier.parent / pictures.name, method, pair)
            if source.is_file():
                path = picture_path(pictures, method, pair)
                make_folder(path.parent)
                with atomic_write(path, force=True) as temporary:  # the earlier evaluation may be the one that is replaced
                    shutil.copyfile(source, temporary)


def _read(path: Path) -> Evaluation:
    found: Any = {}
    evaluation = Evaluation([])
    try:
        check_file(path, give="a report's JSON file")
        found = json.loads(path.read_text(encoding="utf-8"))
        evaluation = Evaluation.from_json(found)
        known = set(evaluation.kinds.values()) <= set(KINDS) and not any("/" in name for name in evaluation.methods)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        known = False
    if not known or not evaluation.rows or "stacks" in found:
        raise InputError(f"{path} is no evaluation of pairs: give the eval.json that `ufa eval --pairs DIR -o OUT` wrote.")
    return evaluation


def _check_names(names: set[str], found: Evaluation, earlier: Path) -> None:
    others = {row.name for row in found.rows}
    if names != others:
        odd = sorted(names ^ others)[0]
        where = "is not in it" if odd in names else "is only in it"
        raise InputError(f"{earlier} is of other pairs ({odd} {where}): join evaluations of the same ones.")


def _untrained(found: Evaluation) -> list[EvalRow]:
    """Rows that come out alike on every machine."""
    return [
        row
        for row in found.rows
        if found.kinds.get(row.method) == MEASURED and row.method not in found.networks and not row.error
    ]


def _nothing_shared(earlier: Path) -> InputError:
    return InputError(
        f"{earlier} shares no method without training with this run: have average in both, to see that they agree."
    )


def _check_same(evaluation: Evaluation, found: Evaluation, earlier: Path) -> None:
    """Raises: InputError, where no method shows that pictures and metrics are the same."""
    ours = {(row.method, row.name): row.metrics for row in _untrained(evaluation)}
    both = [row for row in _untrained(found) if (row.method, row.name) in ours]
    if not both:
        raise _nothing_shared(earlier)
    for row in both:
        here = ours[row.method, row.name]
        for name in row.metrics.keys() & here.keys():
            one, other = row.metrics[name], here[name]
            if not (math.isclose(one, other, abs_tol=_NOISY.get(name, _AGREES)) or (math.isnan(one) and math.isnan(other))):
                raise InputError(
                    f"{earlier} has {name} {one:.5f} for {row.method} on {row.name}, and this run {other:.5f}: these are other "
                    "pictures or another version, so run its methods again."
                )
