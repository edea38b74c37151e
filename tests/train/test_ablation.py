"""The sweeps of Tables III and IV: their settings, going on, the table beside the paper's."""

import csv
import dataclasses
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from ufafuse.network.spec import SPECS, Spec
from ufafuse.runtime.errors import InputError, OutputError
from ufafuse.runtime.images import read_image
from ufafuse.train import ablation
from ufafuse.train.ablation import SWEEPS, fuse_pairs, loss_curve, run_ablation, settings, table_text
from ufafuse.train.degrade import LensOptions
from ufafuse.train.recipe import Recipe, TrainOptions

SMALL = Spec("small", widths=(4,), fold=2, encoder_blocks=(1,), decoder_blocks=(1,), head="select", symmetric=True)
CPU = torch.device("cpu")


@pytest.fixture
def base(photo_folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainOptions:
    monkeypatch.setitem(SPECS, "small", SMALL)
    recipe = Recipe(steps=2, crop=16, batch=1)
    return TrainOptions(
        *photo_folders, tmp_path / "sweep", recipe, variant="small", threads=1, validations=1, device="cpu", val_share=0.2
    )


@pytest.fixture
def pairs(tmp_path: Path, picture: object) -> Path:
    folder = tmp_path / "pairs"
    folder.mkdir()
    for name in ("x_A", "x_B"):
        cv2.imwrite(str(folder / f"{name}.png"), picture)
    return folder


def scored(monkeypatch: pytest.MonkeyPatch) -> None:
    def score(pairs: Path, folders: list[Path]) -> tuple[dict[str, dict[str, float]], str]:
        values = dict.fromkeys(("AVG", "STD", "SEN", "Qabf", "VIFF"), 0.5)
        return {folder.name: values for folder in folders}, ""

    monkeypatch.setattr(ablation, "score", score)


def test_the_papers_tables_are_copied_right() -> None:
    assert SWEEPS["lambda"].metrics == ("AVG", "STD", "SEN", "Qabf")
    assert SWEEPS["lambda"].published["0.2"] == {"AVG": 8.2149, "STD": 62.6244, "SEN": 7.5689, "Qabf": 0.73}
    assert SWEEPS["attention"].published["UFA"] == {"AVG": 8.2149, "SEN": 7.5689, "STD": 62.6244}
    assert [len(sweep.published) for sweep in SWEEPS.values()] == [6, 4]


def test_metrics_are_of_the_weights_whose_psnr_stands_beside_them(
    base: TrainOptions, pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored(monkeypatch)
    fused: list[str] = []
    monkeypatch.setattr(ablation, "fuse_pairs", lambda weights, *_: fused.append(weights.name))
    rows = run_ablation(base, "attention", pairs=pairs)["rows"]
    assert all("psnr" in row for row in rows.values())
    assert fused == ["best.safetensors"] * len(rows)


def test_each_setting_changes_one_thing(base: TrainOptions) -> None:
    by_lambda, by_attention = (settings(base, over) for over in ("lambda", "attention"))
    assert [run.recipe.weight for run in by_lambda.values()] == [0, 0.2, 0.4, 0.6, 0.8, 1]
    assert [run.spec.attention for run in by_attention.values()] == ["none", "no_spatial", "no_channel", "both"]
    assert len({run.out for run in (*by_lambda.values(), *by_attention.values())}) == 10
    with pytest.raises(InputError, match="`over=depth` is not known"):
        settings(base, "depth")


@pytest.mark.parametrize("over", SWEEPS)
def test_a_sweep_ends_in_a_table_a_plot_and_a_report(
    base: TrainOptions, over: str, pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored(monkeypatch)
    begun: list[str] = []
    result = run_ablation(base, over, pairs=pairs, begin=begun.append)
    assert begun == list(SWEEPS[over].published)
    assert result["finished"]
    table = (base.out / "table.md").read_text()
    for name, published in SWEEPS[over].published.items():
        assert f"| {name} | " in table
        assert all(f"0.5000 ({value:.4f})" in table for value in published.values())
        assert {"psnr", "ssim", "loss", "AVG"} <= set(result["rows"][name])
        assert read_image(base.out / "fused" / name / "x.png").shape == (90, 120, 3)
    assert read_image(base.out / "ablation.png").shape[0] > 100
    assert json.loads((base.out / "ablation.json").read_text())["rows"] == result["rows"]


def test_a_sweep_that_was_interrupted_goes_on(base: TrainOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    real, trained = ablation.train, []

    def one_then_stop(options: TrainOptions, *, resume: bool) -> dict[str, object]:
        trained.append((options.out.name, resume))
        result = real(options, resume=resume)
        return {**result, "finished": len(trained) != 2}

    monkeypatch.setattr(ablation, "train", one_then_stop)
    assert not run_ablation(base, "attention")["finished"]
    assert not (base.out / "table.md").exists()
    result = run_ablation(base, "attention")
    assert result["finished"]
    assert trained[:3] == [("attention-NO-UFA", False), ("attention-NO-SA", False), ("attention-NO-UFA", True)]
    assert "were not computed" in (base.out / "table.md").read_text()
    with (base.out / "attention-NO-UFA" / "log.csv").open() as stream:
        assert max(int(row["step"]) for row in csv.DictReader(stream)) == 2


def test_pairs_that_are_none_are_named_before_training(base: TrainOptions, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a folder"):
        run_ablation(base, "lambda", pairs=tmp_path / "gone")
    assert not base.out.exists()


@pytest.mark.parametrize(
    "stored",
    [
        lambda frame: frame[..., 1],
        lambda frame: np.dstack([frame, np.full(frame.shape[:2], 255, np.uint8)]),
        lambda frame: frame.astype(np.uint16) * 257,
    ],
    ids=["grey", "alpha", "16 bits"],
)
def test_pairs_of_any_kind_are_fused(tmp_path: Path, pairs: Path, monkeypatch: pytest.MonkeyPatch, stored: Any) -> None:
    from ufafuse.network.weights import build_model, save_weights

    monkeypatch.setitem(SPECS, "small", SMALL)
    save_weights(build_model("small", seed=0), tmp_path / "w.safetensors")
    fuse_pairs(tmp_path / "w.safetensors", pairs, tmp_path / "plain", CPU)
    for path in pairs.iterdir():
        cv2.imwrite(str(path), stored(read_image(path)))
    fuse_pairs(tmp_path / "w.safetensors", pairs, tmp_path / "other", CPU)
    plain, other = (read_image(tmp_path / folder / "x.png") for folder in ("plain", "other"))
    assert other.shape == plain.shape
    if other.ndim == 3 and stored(plain).ndim == 3:
        assert np.array_equal(other, plain)


def test_frames_of_two_sizes_are_told_before_training(base: TrainOptions, pairs: Path) -> None:
    cv2.imwrite(str(pairs / "x_B.png"), np.zeros((20, 30), np.uint8))
    with pytest.raises(InputError, match=r"x_A.png and .*x_B.png differ in size: 90 x 120 and 20 x 30"):
        run_ablation(base, "lambda", pairs=pairs)
    assert not base.out.exists()


def test_a_sweep_goes_on_as_what_it_is_or_not_at_all(base: TrainOptions) -> None:
    run_ablation(base, "attention")
    other = dataclasses.replace(base, recipe=dataclasses.replace(base.recipe, lr=0.5))
    with pytest.raises(InputError, match=r"attention-NO-UFA holds a run with lr 0.001, and 0.5 is asked for now"):
        run_ablation(other, "attention")
    for changed in ({"seed": 3}, {"lens_options": LensOptions(noise=0)}, {"recipe": dataclasses.replace(base.recipe, steps=3)}):
        with pytest.raises(InputError, match="ask for what it began with"):
            run_ablation(dataclasses.replace(base, **changed), "attention")
    with pytest.raises(OutputError, match="holds the table of the sweep over attention"):
        run_ablation(base, "lambda")
    assert run_ablation(dataclasses.replace(base, threads=2), "attention")["finished"]


def test_metrics_that_cannot_be_had_are_a_note(tmp_path: Path) -> None:
    scores, note = ablation.score(tmp_path / "gone", [tmp_path])
    assert scores == {}
    assert "did not work: " in note
    rows = {name: {"psnr": 40.0} for name in SWEEPS["attention"].published}
    text = table_text(SWEEPS["attention"], rows, note)
    assert "| UFA | - (8.2149) | - (7.5689) | - (62.6244) | 40.00 | - | - |" in text
    assert text.endswith(f"{note}\n")


def test_a_log_without_losses_has_no_number(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("step,loss\n3,\n")
    assert str(loss_curve(tmp_path)) == "[(0, nan)]"


def test_fused_pairs_keep_their_names(base: TrainOptions, pairs: Path, tmp_path: Path) -> None:
    from ufafuse.network.weights import build_model, save_weights

    save_weights(build_model("small", seed=0), tmp_path / "w.safetensors")
    fuse_pairs(tmp_path / "w.safetensors", pairs, tmp_path / "fused", CPU)
    assert [path.name for path in (tmp_path / "fused").iterdir()] == ["x.png"]
