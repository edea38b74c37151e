"""The page's table is what the committed reports say."""

import importlib.util
from pathlib import Path

from ufafuse.runtime.models import bundled

SCRIPT = Path(__file__).parents[3] / ".ci" / "formats_table.py"


def load():
    spec = importlib.util.spec_from_file_location("formats_table", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_made_from_the_reports():
    module = load()
    page = module.PAGE.read_text()
    assert module.with_table(page) == page
    assert [Path(report["weights"]).stem for report in module.reports()] == list(module.NETWORKS)
    assert sorted(module.NETWORKS) == bundled()
    for report in module.reports():
        assert report["ok"]
        for row in report["rows"]:
            assert row["checks"] or row["note"], f"{row['artefact']} was neither run nor is it said why not"


def test_a_row_that_fell_short_shows_and_one_that_was_not_run_says_why():
    module = load()
    row = {"format": "f", "argument": "--format f", "artefact": "x.f", "bytes": 1.5e6, "runs_on": "boards", "note": ""}
    check = {"worst_psnr": 30.0, "max_abs": 9.0, "ms": 2.0, "ok": False}
    check["precision"], row["precision"] = "fp32", "fp32"
    rows = [row | {"checks": {"e": check}}, row | {"checks": {"g": check}}, row | {"checks": {}, "note": "no such machine"}]
    timed = {("x.f", "e", "fp32"): 3.0, ("x.onnx", "onnxruntime", "fp32"): 2.0, ("x.f", "g", "bf16"): 1.0}
    shown = module.lines({"weights": "x.safetensors", "rows": rows}, timed)
    assert shown[0] == "| f | `--format f` | x.f | 1.50 | **30.0 dB, 9 levels: too far** | 3.00 ms in e (x 1.50) | boards |"
    assert "| g |" in shown[1]  # timed in another arithmetic than it was checked in
    assert "| no such machine |" in shown[2]
