"""Weights of every bundled network within one budget of minutes, one run after the other, judged beside what is bundled.

What one GPU needs to be kept busy is images: how many the processes that draw give by themselves is measured first.
"""

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ufafuse.network.spec import find_spec
from ufafuse.network.weights import load_weights
from ufafuse.runtime.artefact import write_json
from ufafuse.runtime.callbacks import ignored
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.models import model_path
from ufafuse.runtime.writing import check_folder, make_folder, read_json
from ufafuse.train.devices import device_of
from ufafuse.train.feed import Feed, Share
from ufafuse.train.loop import REPORT, feed_for, train
from ufafuse.train.recipe import DRAWN, TrainOptions, options_from
from ufafuse.train.resuming import OPTIONS, check_same_run, resumed_options

# of the minutes: by the work of a step
SHARES = {"ufa": 0.3, "ufa-edge": 0.22, "ufa-nano": 0.1, "ufa-free": 0.14, "ufa-stack": 0.24}
EVERY = "every.json"
_BESIDE = 0.12  # of the minutes: for what comes between the runs, and their validations' overrun
_LOADER_SECONDS = 3.0
_LEAST_SECONDS = 1.0
_BATCH_ON_GPU = 4  # times the recipe's batch: a small network leaves a large GPU waiting for launches


@dataclass(frozen=True)
class Every:
    """What to train.

    Attributes:
        out: Folder of the runs, one each.
        minutes: All of it, validations included.
        given: Options of `ufa train` for every run, such as ``images``, ``masks``, ``device``, ``workers``, ``crop``.
        variants: Which networks.
        anew: From drawn weights instead of the bundled ones.
    """

    out: Path
    minutes: float
    given: dict[str, Any]
    variants: Sequence[str] = tuple(SHARES)
    anew: bool = False

    def check(self) -> None:
        """Refuse what cannot be trained (`InputError`)."""
        unknown = [name for name in self.variants if name not in SHARES]
        if unknown or not self.variants:
            known = ", ".join(SHARES)
            raise InputError(f"`variants={','.join(unknown)}` are not known: choose from {known}.")
        if self.minutes <= 0:
            raise InputError(f"`minutes` must be above 0, got {self.minutes:g}.")

    def hours(self, variant: str, *, elapsed: float = 0.0, beside: float | None = None) -> float:
        """How long one of them is trained.

        Args:
            variant: It, and those that come after it have what is left.
            elapsed: Seconds that are gone.
            beside: Seconds that a run took beside its training so far; None: not known yet.
        """
        coming = self.variants[list(self.variants).index(variant) :]
        left = 60 * self.minutes - elapsed
        left -= len(coming) * beside if beside is not None else _BESIDE * left
        return max(_LEAST_SECONDS, left * SHARES[variant] / sum(SHARES[name] for name in coming)) / 3600

    def options(self, variant: str, hours: float | None = None) -> TrainOptions:
        """The options of one run. Raises: InputError."""
        hours = self.hours(variant) if hours is None else hours
        values = {"images": Path(DRAWN), **self.given, "variant": variant, "out": self.out / variant, "hours": hours}
        if find_spec(variant).gathers:
            values.pop("masks", None)  # of stacks' scenes the photographs are surfaces
        options = options_from({key: value for key, value in values.items() if key != "pairs_a_scene"})
        pairs = options.drawn and not options.spec.gathers
        if device_of(options).type == "cuda":
            # As many scenes in a batch as the recipe has: several pairs of each, or the drawing would hold the GPU up.
            values = {"batch": _BATCH_ON_GPU * options.recipe.batch, "pairs_a_scene": _BATCH_ON_GPU, **values}
        if not pairs:
            values.pop("pairs_a_scene", None)
        return options_from(values if self.anew else {**values, "init_from": bundled_weights(variant)})


def bundled_weights(variant: str) -> Path:
    """The weights that come with the package."""
    return model_path(variant).with_suffix(".safetensors")


def train_every(asked: Every, *, begin: Callable[[str], None] = ignored) -> dict[str, Any]:
    """Train one network after the other; the same call again goes on where it was.

    Args:
        asked: See `Every`.
        begin: Told what begins.

    Returns:
        {"ok", "out", "seconds", "finished", "networks": {NAME: {"minutes", "weights", "steps", "seconds", "batch",
        "images_per_second", "waiting_share", "loader", "psnr", "ssim", "bundled": {"psnr", "ssim"}, "better", and "warnings" of
        the run where there are any}}}; also written to ``every.json``, which keeps what it has of other networks.

    Raises:
        InputError: As `options_from`; an unknown variant; a run that is there was begun with other options or minutes.
    """
    asked.check()
    check_folder(asked.out)
    for variant in asked.variants:  # what is wrong is said before the first minute
        check_same_run(asked.options(variant), budget=False)
    before = _of_before(asked)
    make_folder(asked.out)
    began = time.monotonic()
    found: dict[str, Any] = {"ok": True, "out": str(asked.out), "finished": True, "networks": {}}
    beside: float | None = None
    for variant in asked.variants:
        begin(variant)
        _note(asked, {**found, "finished": False}, {**before, variant: {**before.get(variant, {}), "minutes": asked.minutes}})
        elapsed = time.monotonic() - began
        options = asked.options(variant, asked.hours(variant, elapsed=elapsed, beside=beside))
        found["networks"][variant] = entry = {"minutes": asked.minutes, **_trained(options)}
        beside = max(0.0, time.monotonic() - began - elapsed - (entry.get("seconds") or 0.0))
        found["finished"] = entry.pop("finished")
        found["seconds"] = round(time.monotonic() - began, 1)
        _note(asked, found, before)
        if not found["finished"]:
            break
    return found


def _of_before(asked: Every) -> dict[str, Any]:
    """What ``every.json`` has of each network.

    Raises:
        InputError: A run that is there was begun with other minutes: it is not trained again, whatever is asked for.
        ModelError: The file cannot be read.
    """
    path = asked.out / EVERY
    networks = read_json(path).get("networks") if path.is_file() else None
    before = {name: entry for name, entry in networks.items() if isinstance(entry, dict)} if isinstance(networks, dict) else {}
    for variant in asked.variants:
        run, began = asked.out / variant, before.get(variant, {}).get("minutes")  # older versions do not say
        if (run / OPTIONS).is_file() and began not in (None, asked.minutes):
            raise InputError(
                f"{run} holds a run of `minutes={began}`, and {asked.minutes:g} are asked for now: ask for what it began with, "
                "or give another `out`."
            )
    return before


def _note(asked: Every, found: dict[str, Any], before: dict[str, Any]) -> None:
    """Write ``every.json``: what is found, and what it has of other networks."""
    write_json(asked.out / EVERY, {**found, "networks": {**before, **found["networks"]}})


def _trained(options: TrainOptions) -> dict[str, Any]:
    """One network: trained, or gone on with, and judged beside the bundled weights."""
    there = (options.out / OPTIONS).is_file()
    report = options.out / REPORT
    done = read_json(report) if report.is_file() else {}
    entry: dict[str, Any] = {}
    if not done.get("finished"):
        entry["loader"] = loader_rate(feed_for(options), options.workers)
        result = train(resumed_options(options.out, {}) if there else options, resume=there)
        done = read_json(report)
        if not result["finished"]:
            told = {key: result[key] for key in ("warnings",) if key in result}
            return entry | {"finished": False, "weights": result["weights"], "steps": result["steps"]} | told
    keys = ("weights", "steps", "seconds", "images_per_second", "waiting_share")
    entry |= {key: done.get(key) for key in keys} | {"batch": options.recipe.batch, "finished": True}
    entry |= {key: done[key] for key in ("warnings",) if key in done}
    weights = options.out / Path(done["weights"]).name  # the report's path starts from where that command was given
    return entry | {"weights": str(weights)} | judged(options, weights)


def judged(options: TrainOptions, weights: Path) -> dict[str, Any]:
    """PSNR and SSIM of new weights and of the bundled ones, on what the run is validated on."""
    device, feed = device_of(options), feed_for(options)
    scores = {}
    for name, path in (("new", weights), ("bundled", bundled_weights(options.variant))):
        score = feed.validate(load_weights(path).eval().to(device), device)
        scores[name] = {"psnr": round(score.psnr, 3), "ssim": round(score.ssim, 5)}
    better = scores["new"]["psnr"] > scores["bundled"]["psnr"]
    return {**scores["new"], "bundled": scores["bundled"], "better": better}


def loader_rate(feed: Feed, workers: int, *, seconds: float = _LOADER_SECONDS) -> dict[str, Any]:
    """How many images (of stacks, frames) a second are drawn with nobody training on them.

    Args:
        feed: Of a run.
        workers: Processes that draw; 0: this one.
        seconds: To count for; the first batch of each process is not counted.

    Returns:
        ``images_per_second``, ``workers``, ``unit``.
    """
    batches = feed.batches(Share(0), workers=workers, pin=False)
    for batch in itertools.islice(batches, max(1, workers)):
        feed.count(batch)
    began, count = time.monotonic(), 0
    while time.monotonic() - began < seconds or not count:
        count += feed.count(next(batches))
    rate = count / (time.monotonic() - began)
    del batches  # ends its processes
    return {"images_per_second": round(rate, 2), "workers": workers, "unit": feed.unit}
