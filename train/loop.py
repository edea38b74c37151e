"""The training loop: draw a batch, fuse it, compare it with the truth, step; validate, log and save on the way."""

import contextlib
import math
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import torch

from ufafuse.network.base import Network
from ufafuse.network.stacknet import StackNet
from ufafuse.network.weights import build_model, load_weights, save_weights
from ufafuse.runtime import console
from ufafuse.runtime.artefact import tool_versions, write_json
from ufafuse.runtime.cores import quota_bound
from ufafuse.runtime.errors import CheckFailed, InputError, ModelError, OutputError
from ufafuse.runtime.images import write_image
from ufafuse.runtime.machine import machine
from ufafuse.runtime.memory.malloc import keep_all
from ufafuse.runtime.opencv import BUILDS
from ufafuse.runtime.texts import few_of_a_kind
from ufafuse.runtime.writing import check_apart, check_folder, make_folder, together
from ufafuse.train.checkpoint import Average, Progress, load_checkpoint, previous_path, save_checkpoint
from ufafuse.train.devices import computes_in_bf16, is_first_process, launched_fabric
from ufafuse.train.feed import Batch, Feed, Share
from ufafuse.train.logs import RunLog
from ufafuse.train.loss import FusionLoss
from ufafuse.train.pairfeed import PairFeed
from ufafuse.train.part import Taught, parameter_groups, trained_part
from ufafuse.train.recipe import TrainOptions
from ufafuse.train.resuming import OPTIONS, alone, check_photographs, note_options
from ufafuse.train.stackfeed import StackFeed
from ufafuse.train.stop import Stop

if TYPE_CHECKING:
    from lightning_fabric import Fabric

CHECKPOINT, REPORT = "checkpoint.pt", "report.json"
BEST, LAST = "best.safetensors", "last.safetensors"
LOG_EVERY = 50  # steps
MOST_VALIDATING = 0.1  # of a run's time
LATE = 60.0  # seconds that a run by the clock may end late, for its last step and validation


def train(options: TrainOptions, *, resume: bool = False) -> dict[str, Any]:
    """Train a network, or go on with a run that was interrupted.

    The run's folder then holds `best.safetensors` and `last.safetensors`, `log.csv`, TensorBoard events, sample
    pictures, `report.json`, and `checkpoint.pt` and `options.json` to go on from.

    Returns:
        {"ok", "run", "steps", "seconds", "finished", "best": {"psnr", "ssim", "step"} | None, "weights"}, and "warnings":
        [text] where there are any. `finished` is False where a signal ended the run early: all is saved then.

    Raises:
        InputError: The photographs, the pairs to validate on or the options cannot be used.
        ModelError: Both checkpoints, or the weights to start from, are broken.
        OutputError: The folder holds a run already (without `resume`), another process trains in it, or it cannot be written.
        CheckFailed: The loss or its gradient is not a number; the last checkpoint is kept.
    """
    leading = is_first_process()
    with contextlib.ExitStack() as held:
        stop = held.enter_context(Stop().listening())
        with together() if leading else contextlib.nullcontext():  # a folder made for a run that cannot begin goes again
            if leading:
                read = (options.images, options.masks, options.val_pairs, options.val_stacks)
                _check_folder(options.out, read, resume=resume)
                held.enter_context(alone(options.out))
            trainer = _begun(options, stop, resume=resume, leading=leading)
        return trainer.run()


def _begun(options: TrainOptions, stop: Stop, *, resume: bool, leading: bool) -> "Trainer":
    """All that comes before the first step; raises as `train`."""
    feed = feed_for(options)  # before other processes start: what is wrong with it is said once
    fabric = launched_fabric(options)
    if fabric.device.type == "cpu":
        # Each step asks for the same large blocks, which glibc would give back and the kernel clear each time. Images a
        # second on one core with AMX, in turn: `ufa` 13.2, 14.3 before and 21.1, 20.4 now; smaller networks the same.
        keep_all()
    bound = quota_bound()
    threads = options.threads or (bound.threads if bound else 0)
    if threads:
        torch.set_num_threads(threads)
        cv2.setNumThreads(threads)
    trainer = Trainer(options, feed, fabric, stop, resume=resume)
    other_validation = check_photographs(options, feed.names, resume=resume) if leading else False
    if leading:
        note_options(options)
    if resume:
        trainer.resume()
    if other_validation:
        trainer.forget_best()
    for warning in few_of_a_kind(trainer.warnings) if leading else ():
        console.warn(warning)
    return trainer


def _check_folder(out: Path, read: Sequence[Path | None], *, resume: bool) -> None:
    written = (out / OPTIONS).exists()
    if resume and not written:
        raise InputError(f"{out} holds no run to resume: start one without `resume`.")
    if written and not resume:
        raise OutputError(f"{out} holds a run already: go on with `resume`, or give another `out`.")
    check_apart([out], read)
    check_folder(out)
    make_folder(out)


def feed_for(options: TrainOptions) -> Feed:
    """Return what a run is fed with; `InputError` where photographs or what it is validated on cannot be used."""
    return StackFeed(options) if options.spec.gathers else PairFeed(options)


def network_for(options: TrainOptions, *, resume: bool = False) -> Network:
    """Return the network that the run starts from; `InputError` where the weights given are of another one.

    A run that goes on has its weights in the checkpoint: those that it began with may be gone, or others by now.
    """
    if options.init_from is None or (resume and checkpoints(options.out)):
        return build_model(options.spec, init=options.recipe.init, seed=options.seed)
    net = load_weights(options.init_from)
    if net.spec != options.spec:
        raise InputError(
            f"{options.init_from} holds the weights of {net.spec.name!r}, the run is of {options.spec.name!r}: "
            f"train with `variant={net.spec.name}`, or start from other weights."
        )
    return net


def checkpoints(run: Path) -> list[Path]:
    """The checkpoints that a run's folder holds, the last one first."""
    path = run / CHECKPOINT
    return [candidate for candidate in (path, previous_path(path)) if candidate.exists()]


class Trainer:
    """One process's part of a run."""

    def __init__(self, options: TrainOptions, feed: Feed, fabric: "Fabric", stop: Stop, *, resume: bool = False) -> None:
        """Set the run up at its beginning; with `resume` that of the same name is to follow."""
        self.options, self.feed, self.fabric, self.stop = options, feed, fabric, stop
        self.recipe = options.recipe
        self.device: torch.device = fabric.device
        self.net = network_for(options, resume=resume).train().to(self.device)
        self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's annotations
        self.average = Average(self.net, self.recipe.average)
        trained = trained_part(self.net, self.recipe.part)
        groups = parameter_groups(self.net, trained)
        self.model, self.optimizer = fabric.setup(trained, torch.optim.Adam(groups, self.recipe.lr))
        self.loss = FusionLoss(self.recipe.weight, self.recipe.square, self.recipe.gradient, self.recipe.grain)
        self.taught = isinstance(trained, Taught)
        if isinstance(self.net, StackNet):
            self.net.selection = self.recipe.selection
        self.progress = Progress()
        self.total = self.recipe.total_steps(feed.photographs)
        self.writes = fabric.is_global_zero
        self.resumed_from: dict[str, Any] | None = None
        self.warnings = list(feed.warnings)
        self._waited, self._stepped, self._images = 0.0, 0.0, 0  # seconds for batches, seconds in all steps; of this process
        self._validating = (0.0, 0.0)  # seconds: all of this process, and the last one

    def forget_best(self) -> None:
        """Let the best weights be found anew: those so far were judged on other pairs or stacks, which may be easier."""
        if self.progress.best and self.share < 1:
            self.progress.best = {}
            self.warnings.append("validated on others from now on, so the best weights are looked for among those that come.")
            self._save()  # at once: the next start knows of no others

    def resume(self) -> None:
        """Go to where the run's checkpoint is, or the one before where that one is damaged, which is said and reported.

        Without any, the run ended before there was anything to lose.
        """
        found = checkpoints(self.options.out)
        for last, candidate in enumerate(found, start=1):
            try:
                self.progress = load_checkpoint(
                    candidate, net=self.net, average=self.average, optimizer=self.optimizer.optimizer, device=self.device
                )
            except ModelError as error:
                if last == len(found):
                    raise
                self.warnings.append(f"{error} The checkpoint before it is gone on from.".replace(": start a new run.", "."))
                continue
            self.resumed_from = {"checkpoint": candidate.name, "step": self.progress.step}
            break
        done, hours = self.progress, self.recipe.hours
        if self.total and done.step > self.total:
            self.warnings.append(f"{done.step} steps were done before, and {self.total} are fewer: nothing was trained.")
        elif not self.total and done.seconds > 3600 * hours + LATE:
            spent = f"{done.seconds / 3600:.3g} hours"
            self.warnings.append(f"{spent} were trained before, and {hours:g} are fewer: nothing was trained.")

    @property
    def share(self) -> float:
        """How much of the run is done, in [0, 1]."""
        if self.total:
            return min(1.0, self.progress.step / self.total)
        return min(1.0, self.progress.seconds / (self.recipe.hours * 3600))

    def run(self) -> dict[str, Any]:
        """Train until the budget is spent or a stop is asked for; returns what `train` does."""
        bar = self.total or math.ceil(self.recipe.hours * 60)
        with RunLog(self.options.out, step=self.progress.step, total=bar, quiet=not self.writes) as log:
            if self.share < 1:
                self._train(log)
            finished = self.share >= 1
            if self.writes:
                self._save()
        result = self._result(finished=finished)
        if self.writes:
            write_json(self.options.out / REPORT, self._report(result))
        self.fabric.barrier()
        return result

    def _train(self, log: RunLog) -> None:
        began = time.monotonic() - self.progress.seconds
        saved = mark = time.monotonic()
        recent, spent, count = list[float](), 0.0, 0
        for batch in self._batches():
            validated = self._validations_due()
            recent.append(self._step(batch))
            seen, passed = self.feed.count(batch), time.monotonic() - mark
            count, spent = count + seen, spent + passed
            self._images, self._stepped = self._images + seen, self._stepped + passed
            ending = self._agree(time.monotonic() - began) or self.share >= 1
            log.advance(self.progress.step if self.total else int(self.progress.seconds / 60))
            log.live(recent, f"{self.fabric.world_size * count / spent:.1f} {self.feed.unit}/s")
            if self.progress.step % LOG_EVERY == 0 or ending:
                self._log(log, sum(recent) / len(recent), self.fabric.world_size * count / spent)
                recent, spent, count = [], 0.0, 0
            if self._validations_due() > validated and (ending or self._affordable()):
                self._validate(log)
            if ending:
                return
            if self.writes and time.monotonic() - saved > 60 * self.options.checkpoint_minutes:
                self._save()
                saved = time.monotonic()
            mark = time.monotonic()

    def _batches(self) -> Iterator[Batch]:
        """Yield batches from the run's position on, without end; how long they were waited for is noted."""
        share = Share(self.progress.step, self.fabric.global_rank, self.fabric.world_size)
        batches = self.feed.batches(share, workers=self.options.workers, pin=self.device.type == "cuda")
        while True:
            began = time.monotonic()
            batch = next(batches)
            self._waited += time.monotonic() - began
            yield batch

    def _step(self, batch: Batch) -> float:
        """Train on one batch and return its loss; `CheckFailed`, before any weight is touched, where it is no number."""
        rate = self.recipe.learning_rate(self.share)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["pace"]
        frames, truth = self.feed.learn(batch, self._cut(batch), self.device)
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.model(*frames, truth) if self.taught else self.loss(self.model(*frames), truth)
        if self.recipe.doubt and isinstance(self.net, StackNet) and self.net.doubt is not None:
            loss = loss + self.recipe.doubt * self.net.doubt
        self.fabric.backward(loss)
        norm = self.fabric.clip_gradients(
            self.model, self.optimizer, max_norm=self.recipe.clip or math.inf, error_if_nonfinite=False
        )
        value = loss.item()
        if norm is None or not (math.isfinite(value) and math.isfinite(norm.item())):
            raise CheckFailed(self._not_a_number(value))
        self.optimizer.step()
        self.progress.step += 1
        self.average.update(self.net, self.progress.step)
        return value

    def _cut(self, batch: Batch) -> tuple[int, int]:
        """Trim some batches so that the scales do not divide their size: what the network pads must be learnt too."""
        stride, step = self.net.spec.stride, self.progress.step
        odd = [(0, 0), (stride // 4 + 1, 0), (0, stride // 2 + 1), (stride // 2 + 1, 3 * stride // 4)]
        side = batch[-1].shape[1]
        below, right = (min(cut, side // 4) if stride > 1 else 0 for cut in odd[step % len(odd)])
        return below, right

    def _not_a_number(self, loss: float) -> str:
        step = self.progress.step
        kept = self.options.out / CHECKPOINT
        return (
            f"the loss ({loss:.4g}) or its gradient is not a number in batch {step + 1}, {self.feed.describe(step)}. "
            + (f"{kept} holds the last good state: go on with `resume`" if kept.exists() else "Start again")
            + f" and a learning rate below {self.recipe.lr:g} (`lr`)."
        )

    def _agree(self, seconds: float) -> bool:
        """Settle the time and whether to stop, between all processes; returns whether a stop was asked for."""
        if self.fabric.world_size > 1:
            mine = torch.tensor([seconds, float(self.stop.requested)], dtype=torch.float64, device=self.device)
            seconds, stop = torch.as_tensor(self.fabric.all_reduce(mine, reduce_op="max")).tolist()
            self.stop.requested = bool(stop)
        self.progress.seconds = seconds
        return self.stop.requested

    def _validations_due(self) -> int:
        return int(self.share * self.options.validations + 1e-9)

    def _affordable(self) -> bool:
        """Whether another validation like the last one leaves 90 % of the time to training; the last of a run always comes."""
        spent, last = self._validating
        fits = spent + last <= MOST_VALIDATING * max(self.progress.seconds, last)
        return bool(self.fabric.broadcast(fits))  # each process has its own clock, and all of them validate or none

    def _log(self, log: RunLog, loss: float, speed: float) -> None:
        if self.fabric.world_size > 1:
            loss = float(torch.as_tensor(self.fabric.all_reduce(torch.tensor(loss, device=self.device))))
        progress = self.progress
        rate = self.recipe.learning_rate(self.share)
        values = {"seconds": progress.seconds, "loss": loss, "lr": rate, "images_per_second": speed}
        left = timedelta(seconds=round((1 / max(self.share, 1e-9) - 1) * progress.seconds))
        log.row(
            progress.step,
            values,
            f"step {progress.step}  loss {loss:.5f}  {speed:.1f} {self.feed.unit}/s  {left} left",
        )

    def _validate(self, log: RunLog) -> None:
        """Validate the averaged weights; keep them where they are the best so far. The first process does it alone."""
        began = time.monotonic()
        if self.writes:
            step = self.progress.step
            found = self.feed.validate(self.average.net, self.device)
            log.row(
                step,
                {"seconds": self.progress.seconds, "val_psnr": found.psnr, "val_ssim": found.ssim},
                f"step {step}  validation PSNR {found.psnr:.2f} dB  SSIM {found.ssim:.5f}",
            )
            log.picture(step, found.picture)
            samples = self.options.out / "samples"
            make_folder(samples)
            write_image(samples / f"step_{step:07d}.jpg", found.picture, force=True)
            if found.psnr > self.progress.best.get("psnr", -math.inf):
                self.progress.best = {"psnr": found.psnr, "ssim": found.ssim, "step": step}
                self._save_weights(BEST, self.progress.best)
                self._save()  # what was best is known after a kill, too
        self.fabric.barrier()
        last = time.monotonic() - began
        self._validating = (self._validating[0] + last, last)

    def _save(self) -> None:
        """Write the checkpoint and the last weights."""
        save_checkpoint(
            self.options.out / CHECKPOINT,
            progress=self.progress,
            net=self.net,
            average=self.average,
            optimizer=self.optimizer.optimizer,
        )
        self._save_weights(LAST, {"step": self.progress.step})

    def _save_weights(self, name: str, extra: dict[str, Any]) -> None:
        extra = {**extra, "recipe": self.options.to_dict()["recipe"], "seed": self.options.seed, "data": self._data()}
        save_weights(self.average.net, self.options.out / name, extra=extra, force=True)

    def _data(self) -> str:
        """Say what the weights have learnt from, without a name of anybody's folder."""
        photographs = f"{self.feed.photographs} photographs"
        if not self.options.drawn:
            return photographs
        return f"drawn scenes and {photographs}" if self.feed.photographs else "drawn scenes"

    def _result(self, *, finished: bool) -> dict[str, Any]:
        best = self.progress.best or None
        return {
            "ok": True,
            "run": str(self.options.out),
            "steps": self.progress.step,
            "seconds": round(self.progress.seconds, 1),
            "finished": finished,
            "best": best,
            "weights": str(self.options.out / (BEST if best else LAST)),
        } | ({"warnings": self.warnings} if self.warnings else {})

    def _report(self, result: dict[str, Any]) -> dict[str, Any]:
        """Return what the report beside the weights says."""
        threads = torch.get_num_threads() * self.fabric.world_size
        return {
            **result,
            "resumed_from": self.resumed_from,
            "options": self.options.to_dict(),
            "parameters": sum(p.numel() for p in self.net.parameters()),
            "images_per_second": round(self.fabric.world_size * self._images / self._stepped, 2) if self._stepped else None,
            "waiting_share": round(self._waited / self._stepped, 4) if self._stepped else None,
            "photographs": self.feed.photographs,
            "skipped": self.feed.skipped,
            **self.feed.report(),
            "precision": "bf16" if computes_in_bf16(self.options, self.device) else "fp32",
            "threads": threads,
            "machine": machine(),
            "tools": tool_versions("torch", "lightning-fabric", "numpy", *BUILDS),
        }
