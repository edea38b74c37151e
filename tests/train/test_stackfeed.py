"""What a network over stacks learns from: batches by seed and step, surfaces, validation; and a run from start to end."""

import csv
import dataclasses
import itertools
import json
import os
import signal
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from tests.networks import TINY_STACKS
from tests.pictures import photograph
from ufafuse.network.spec import SPECS
from ufafuse.network.weights import load_weights
from ufafuse.runtime.artefact import read_manifest
from ufafuse.runtime.errors import CheckFailed, InputError
from ufafuse.train import loop, textures
from ufafuse.train.feed import Share
from ufafuse.train.loop import Trainer, feed_for, train
from ufafuse.train.pairfeed import PairFeed
from ufafuse.train.recipe import RECIPES, Recipe, TrainOptions
from ufafuse.train.scenes import SceneOptions
from ufafuse.train.stackdata import best_of_frames, read_stacks, stack_sample, validate_stacks
from ufafuse.train.stackfeed import HELD_OUT, StackBatches, StackFeed
from ufafuse.train.stackset import StackPlan, write_stacks
from ufafuse.train.textures import RENEWED, Textures

TINY = dataclasses.replace(TINY_STACKS["two scales"], name="tiny-stack")
SCENES = SceneOptions(min_frames=2, max_frames=4, max_radius=8)


@pytest.fixture(autouse=True)
def tiny_variant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SPECS, "tiny-stack", TINY)
    monkeypatch.setattr(loop, "LOG_EVERY", 1)
    monkeypatch.setattr(textures, "SIDE", 96)  # smaller and fewer pictures are drawn sooner
    monkeypatch.setattr(textures, "BANK", 12)


@pytest.fixture
def options(tmp_path: Path) -> TrainOptions:
    recipe = dataclasses.replace(RECIPES["stack"], steps=6, crop=32, batch=4)
    return TrainOptions(
        None,
        None,
        tmp_path / "run",
        recipe,
        "tiny-stack",
        drawn=True,
        scene_options=SCENES,
        threads=1,
        validations=2,
        device="cpu",
    )


@pytest.fixture
def photo_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(4):
        cv2.imwrite(str(folder / f"p{index}.png"), photograph(70, 90, index))
    return folder


def first(feed: StackFeed, count: int, share: Share = Share(0), workers: int = 0) -> list[list[torch.Tensor]]:  # noqa: B008
    return [list(batch) for batch in itertools.islice(feed.batches(share, workers=workers, pin=False), count)]


def same(one: list[torch.Tensor], two: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def losses(out: Path) -> dict[int, float]:
    with (out / "log.csv").open() as stream:
        return {int(row["step"]): float(row["loss"]) for row in csv.DictReader(stream) if row["loss"]}


def test_a_batch_has_stacks_of_one_length_and_no_more_frames_than_fit(options: TrainOptions) -> None:
    feed = StackFeed(options)
    lengths = set()
    for frames, covered, truth in first(feed, 12):
        stacks, length = frames.shape[:2]
        lengths.add(length)
        assert stacks == max(1, 2 * options.recipe.batch // length)
        assert frames.shape == (stacks, length, 32, 32, 3)
        assert covered.shape == (stacks, length, 32, 32)
        assert truth.shape == (stacks, 32, 32, 3)
        assert {frames.dtype, covered.dtype, truth.dtype} == {torch.uint8}
        assert feed.count((frames, covered, truth)) == stacks * length
    assert lengths == {2, 3, 4}


def test_a_batch_depends_on_seed_and_step_alone_whoever_draws_it(options: TrainOptions) -> None:
    whole = first(StackFeed(options), 6)
    assert all(map(same, whole[3:], first(StackFeed(options), 3, Share(3))))
    assert all(map(same, whole, first(StackFeed(options), 6, workers=2)))
    other = first(StackFeed(dataclasses.replace(options, seed=1)), 6)
    assert not any(one[0].shape == two[0].shape and same(one, two) for one, two in zip(whole, other, strict=True))
    assert not same([whole[0][2][0]], [whole[0][2][1]])  # the stacks of a batch are different ones


def test_processes_train_on_different_stacks_of_the_same_length(options: TrainOptions) -> None:
    four = dataclasses.replace(options, scene_options=dataclasses.replace(SCENES, min_frames=4))
    feed = StackFeed(four)
    for step, (one, two, both) in enumerate(
        zip(first(feed, 3, Share(0, 0, 2)), first(feed, 3, Share(0, 1, 2)), first(feed, 3), strict=True)
    ):
        assert one[0].shape == two[0].shape == (1, 4, 32, 32, 3), step
        assert same([torch.cat([one[0], two[0]])], [both[0]])


def test_some_batches_can_be_pairs(options: TrainOptions) -> None:
    recipe = dataclasses.replace(options.recipe, pair_share=1.0)
    feed = StackFeed(dataclasses.replace(options, recipe=recipe))
    batches = first(feed, 3)
    for frames, covered, truth in batches:
        assert frames.shape == (4, 2, 32, 32, 3)
        assert covered.all()
        closer = (frames.float() - truth[:, None].float()).abs().amin(1).mean()
        assert closer < (frames.float() - truth[:, None].float()).abs().mean()
    assert not same([batches[0][2]], [batches[1][2]])
    halves = [first(feed, 3, Share(0, rank, 2)) for rank in (0, 1)]
    assert same([torch.cat([halves[0][1][2], halves[1][1][2]])], [batches[1][2]])


def test_what_the_network_gets_is_rgb_in_order_and_cut(options: TrainOptions) -> None:
    feed = StackFeed(options)
    frames = torch.zeros(1, 2, 32, 32, 3, dtype=torch.uint8)
    frames[0, 1, 3, 4] = torch.tensor([10, 20, 255])
    covered = torch.ones(1, 2, 32, 32, dtype=torch.uint8)
    covered[0, 0, 3, 4] = 0
    (planes, mask), truth = feed.learn((frames, covered, frames[:, 1]), (2, 5), torch.device("cpu"))
    assert planes.shape == (1, 2, 3, 30, 27)
    assert mask.shape == (1, 2, 1, 30, 27)
    assert truth.shape == (1, 3, 30, 27)
    torch.testing.assert_close(planes[0, 1, :, 3, 4], torch.tensor([1.0, 20 / 255, 10 / 255]))
    assert (mask[0, 0, 0, 3, 4], mask.sum()) == (0, 2 * 30 * 27 - 1)


def test_surfaces_change_with_the_scenes_and_are_the_same_for_the_same_number() -> None:
    draw = lambda: np.random.default_rng(0)  # noqa: E731
    one, again = Textures((0, 1), side=24), Textures((0, 1), side=24)
    forward = [one.at(scene)(draw()) for scene in (0, 5, 1, RENEWED * textures.BANK)]
    backward = [again.at(scene)(draw()) for scene in (RENEWED * textures.BANK, 1, 5, 0)][::-1]
    assert all(np.array_equal(a, b) for a, b in zip(forward, backward, strict=True))
    assert np.array_equal(forward[0], forward[2])
    assert not np.array_equal(forward[0], forward[3])
    assert len(one._drawn) <= textures.BANK
    assert not np.array_equal(forward[0], Textures((0, 2), side=24).at(0)(draw()))


def test_as_many_surfaces_are_photographs_as_asked_for() -> None:
    photo = np.full((3, 3, 3), 7, np.uint8)
    shares = {}
    for share in (0.0, 0.45, 1.0):
        texture, rng = Textures((0, 1), [photo], share=share, side=16).at(0), np.random.default_rng(0)
        shares[share] = np.mean([texture(rng) is photo for _ in range(400)])
    assert (shares[0.0], shares[1.0]) == (0, 1)
    assert shares[0.45] == pytest.approx(0.45, abs=0.07)


def test_pairs_between_stacks_leave_these_their_pictures() -> None:
    one = Textures((0, 1), side=24)
    assert one.again()._drawn is not one._drawn
    assert np.array_equal(one.again().at(3)(np.random.default_rng(1)), one.at(3)(np.random.default_rng(1)))


def test_photographs_are_trained_on_or_validated_on(options: TrainOptions, photo_folder: Path) -> None:
    feed = StackFeed(dataclasses.replace(options, images=photo_folder, photo_share=1.0, val_share=0.3))
    assert feed.photographs == 3
    assert len(feed.textures._photos) == 3
    (photo_folder.parent / "pairs").mkdir()
    for name in ("A", "B", "GT"):
        cv2.imwrite(str(photo_folder.parent / "pairs" / f"p_{name}.png"), photograph(40, 40, 0))
    with_pairs = dataclasses.replace(options, images=photo_folder, val_pairs=photo_folder.parent / "pairs")
    assert StackFeed(with_pairs).photographs == 4  # none is held out
    (photo_folder / "broken.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"1 of 5 photographs cannot be used: .*broken\.png"):
        StackFeed(dataclasses.replace(options, images=photo_folder))
    feed = StackFeed(dataclasses.replace(options, images=photo_folder, skip_bad=True))
    assert len(feed.skipped) == 1
    for folder, message in ((photo_folder / "gone", "is not a folder"), (options.out.parent, "holds no pictures")):
        with pytest.raises(InputError, match=message):
            StackFeed(dataclasses.replace(options, images=folder))


def test_stacks_held_out_are_fixed_of_all_lengths_and_not_trained_on(options: TrainOptions) -> None:
    one, two = StackFeed(options), StackFeed(options)
    assert len(one.validation) == HELD_OUT
    assert {len(named.stack.frames) for named in one.validation} == {2, 3, 4}
    assert all(np.array_equal(a.stack.frames, b.stack.frames) for a, b in zip(one.validation, two.validation, strict=True))
    report = one.report()
    assert report["validation_stacks"] == HELD_OUT
    assert 10 < report["better_input_psnr"] < report["best_pixels_psnr"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    options = dataclasses.replace(SCENES, margins=1, dark=0)
    write_stacks(tmp_path / "set", StackPlan(3, (40, 48), 3, options), seed=2)
    return tmp_path / "set"


def test_stacks_are_read_as_they_were_written(options: TrainOptions, folder: Path) -> None:
    stacks = read_stacks(folder)
    assert [named.name for named in stacks] == ["0000", "0001", "0002"]
    assert {named.stack.frames.shape for named in stacks} == {(3, 40, 48, 3)}
    assert any((named.stack.covered == 0).any() for named in stacks)
    assert all(not named.stack.frames[named.stack.covered == 0].any() for named in stacks)
    feed = StackFeed(dataclasses.replace(options, val_stacks=folder))
    assert feed.report()["validation_stacks"] == 3
    validation = feed.validate(load_or_build(), torch.device("cpu"))
    assert 5 < validation.psnr < 60
    assert validation.picture.shape == (3 * 40, 5 * 48, 3)


def load_or_build() -> torch.nn.Module:
    from ufafuse.network.weights import build_model

    return build_model(TINY, seed=0).eval()


def test_scores_are_those_of_each_stack_and_see_what_is_covered(folder: Path) -> None:
    stacks = read_stacks(folder)
    net = load_or_build()
    scores, fused = validate_stacks(net, stacks, torch.device("cpu"))
    assert [score.name for score in scores] == ["0000", "0001", "0002"]
    error = ((fused[1].astype(float) - stacks[1].stack.truth) ** 2).mean()
    assert scores[1].psnr == pytest.approx(10 * np.log10(255**2 / error), abs=0.05)
    bare = dataclasses.replace(stacks[0].stack, covered=np.ones_like(stacks[0].stack.covered))
    alone, _ = validate_stacks(net, [dataclasses.replace(stacks[0], stack=bare)], torch.device("cpu"))
    assert alone[0].psnr < scores[0].psnr  # black margins spoil it
    whole, pixels = best_of_frames(stacks)
    assert whole < pixels
    np.testing.assert_array_equal(stack_sample(stacks, fused)[:40, 4 * 48 :], stacks[0].stack.truth)


def test_what_was_made_of_frames_is_no_frame_to_validate_on(folder: Path) -> None:
    before = read_stacks(folder)
    truth = folder / "0001" / "truth.png"
    (folder / "0001" / "focus-stack.png").write_bytes(truth.read_bytes())
    truth.rename(truth.with_name("Truth.png"))  # as cameras and people write it, and as `ufa eval --stacks` takes it
    after = read_stacks(folder, warnings=(told := list[str]()))
    assert all(np.array_equal(a.stack.frames, b.stack.frames) for a, b in zip(before, after, strict=True))
    assert told == [f"{folder / '0001' / 'focus-stack.png'} was taken for a result, not for a frame."]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "0001" / "truth.png").unlink(), "0001 has 0 truths"),
        (lambda folder: [(folder / "0001" / f"0{n}.png").unlink() for n in (0, 1)], "0001 has 1 frames"),
        (lambda folder: cv2.imwrite(str(folder / "0001" / "01.png"), np.zeros((9, 8, 3), np.uint8)), "differ in size: 9 x 8"),
        (lambda folder: (folder / "0001" / "00.png").write_bytes(b"no"), "0001/00.png"),
    ],
)
def test_stacks_that_cannot_be_validated_on_are_named(folder: Path, spoil: object, message: str) -> None:
    spoil(folder)  # type: ignore[operator]
    with pytest.raises(InputError, match=message):
        read_stacks(folder)


def test_a_folder_without_stacks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no stacks"):
        read_stacks(tmp_path)
    with pytest.raises(InputError, match="is not a folder"):
        read_stacks(tmp_path / "gone")


def test_pairs_validate_as_stacks_of_two(options: TrainOptions, tmp_path: Path) -> None:
    for name in ("A", "B", "GT"):
        cv2.imwrite(str(tmp_path / f"p_{name}.png"), photograph(40, 40, 0))
    feed = StackFeed(dataclasses.replace(options, val_pairs=tmp_path))
    assert [named.stack.frames.shape for named in feed.validation] == [(2, 40, 40, 3)]


def test_a_run_leaves_weights_logs_samples_and_a_report(options: TrainOptions) -> None:
    result = train(options)
    assert (result["ok"], result["steps"], result["finished"]) == (True, 6, True)
    assert load_weights(Path(result["weights"])).spec == TINY
    assert read_manifest(options.out / "last.safetensors").extra["data"] == "drawn scenes"
    assert sorted(losses(options.out)) == [1, 2, 3, 4, 5, 6]
    samples = sorted((options.out / "samples").iterdir())
    assert [path.name for path in samples] == ["step_0000003.jpg", "step_0000006.jpg"]
    assert cv2.imread(str(samples[0])).shape == (4 * 32, 5 * 32, 3)
    assert list((options.out / "tensorboard").iterdir())
    report = json.loads((options.out / "report.json").read_text())
    assert report["best"] == result["best"]
    assert (report["photographs"], report["validation_stacks"]) == (0, HELD_OUT)


def test_it_learns(options: TrainOptions) -> None:
    recipe = dataclasses.replace(options.recipe, steps=120, lr=6e-3, average=0.9)
    scenes = SceneOptions(min_frames=3, max_frames=3, min_radius=4, max_radius=8, noise=0, jpeg=0, gain=0, shift=0, dark=0)
    train(dataclasses.replace(options, recipe=recipe, scene_options=scenes))
    curve = list(losses(options.out).values())
    assert sum(curve[-30:]) < 0.9 * sum(curve[:30])


def test_a_stopped_run_goes_on_as_if_nothing_had_happened(
    options: TrainOptions, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, photo_folder: Path
) -> None:
    recipe = dataclasses.replace(options.recipe, pair_share=0.3)
    options = dataclasses.replace(options, recipe=recipe, images=photo_folder)
    whole = dataclasses.replace(options, out=tmp_path / "whole")
    train(whole)
    real = Trainer._step

    def counted(self: Trainer, batch: object) -> float:
        loss = real(self, batch)  # type: ignore[arg-type]
        if self.progress.step == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return loss

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", counted)
        assert train(options)["finished"] is False
    assert train(options, resume=True)["finished"]
    assert losses(options.out) == pytest.approx(losses(whole.out), abs=1e-6)
    one, two = (load_weights(out / "last.safetensors").state_dict() for out in (options.out, whole.out))
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, two[name], rtol=0, atol=1e-6)


def test_a_number_that_is_none_stops_the_run(options: TrainOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    real = loop.FusionLoss.forward
    steps = itertools.count(1)
    monkeypatch.setattr(loop.FusionLoss, "forward", lambda *a: real(*a) * (float("nan") if next(steps) == 3 else 1))
    with pytest.raises(CheckFailed, match="not a number in batch 3, drawn from seed 0 and number 2"):
        train(options)


def test_weights_to_start_from(options: TrainOptions, tmp_path: Path) -> None:
    train(options)
    still = dataclasses.replace(options.recipe, steps=1, lr=1e-12)
    again = dataclasses.replace(options, init_from=options.out / "last.safetensors", recipe=still, out=tmp_path / "again")
    train(again)
    one, two = (load_weights(run.out / "last.safetensors") for run in (options, again))
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


def test_a_part_that_such_a_network_has_not_is_refused(options: TrainOptions) -> None:
    recipe = dataclasses.replace(options.recipe, part="selection")
    with pytest.raises(InputError, match="no picture that passes through"):
        train(dataclasses.replace(options, recipe=recipe))


def test_batches_are_a_dataset_of_any_loader(options: TrainOptions) -> None:
    feed = StackFeed(options)
    dataset = StackBatches(options, feed.textures, feed.pairs, Share(0))
    loaded = next(iter(DataLoader(dataset, batch_size=None, sampler=[5])))
    assert np.array_equal(loaded[0].numpy(), dataset[5][0])


def test_pairs_for_the_pairs_networks_are_drawn_too(tmp_path: Path) -> None:
    recipe = Recipe(steps=2, crop=24, batch=2, lens=0.5)
    options = TrainOptions(None, None, tmp_path / "run", recipe, "ufa-nano", drawn=True, threads=1, device="cpu", validations=1)
    assert isinstance(feed_for(options), PairFeed)
    result = train(options)
    assert result["finished"]
    report = json.loads((options.out / "report.json").read_text())
    assert report["photographs"] == 0
    assert read_manifest(options.out / "last.safetensors").extra["data"] == "drawn scenes"
