"""Time against quality: one table and one plot from a bench.json and several eval.json, and README's table of the same."""

import importlib.util
import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from ufafuse.benchmarks.speed import bench as bench_module
from ufafuse.benchmarks.speed import plots, tradeoff
from ufafuse.benchmarks.speed.report import headline, read_result
from ufafuse.commands import bench as commands
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.images import read_image

SIZE = [520, 520]
SCRIPT = Path(__file__).parents[2] / ".ci" / "readme_figures.py"


def timed(artefact, backend, precision, p50_ms, group="ours", size=SIZE):
    statistics = {"p50_ms": p50_ms, "p90_ms": p50_ms, "p99_ms": p50_ms, "min_ms": p50_ms, "fps": 1e3 / p50_ms, "runs": 9}
    return statistics | {
        "artefact": artefact,
        "path": None if group == "classical" else artefact,
        "group": group,
        "backend": backend,
        "precision": precision,
        "size": size,
        "spread": 0.1,
        "rss_mib": None,
        "cold_ms": None,
        "vs_paper": round(260 / p50_ms, 3),
        "of_floor": None,
    }


def network(artefact, precision, gflop, int8_gop):
    work = {"parameters": 4000, "gflop": gflop, "int8_gop": int8_gop, "floor_ms": None, "why_not": "not here"}
    return {"artefact": artefact, "size": SIZE, "precision": precision} | work


@pytest.fixture
def result():
    """A measurement of two networks, one of them in int8 too, and of one classical method."""
    features = {"AVX2": True, "AVX-512": True, "VNNI": True, "BF16": True, "AMX": False}
    host = {"system": "Linux", "architecture": "x86_64", "python": "3", "cpu": "Some CPU", "cores": 8, "features": features}
    host |= {"memory_mib": 1, "gpus": [], "usable_cores": 2, "clock_mhz": None, "load_average": [0.0, 0.0, 0.0]}
    rows = [
        timed("big.onnx", "openvino", "fp32", 900.0),
        timed("big.onnx", "torch", "fp32", 2000.0, group="peer"),
        timed("big.onnx", "openvino", "fp32", 4000.0, size=[1080, 1920]),
        timed("small.onnx", "openvino", "fp32", 40.0),
        timed("small.onnx", "onnxruntime", "fp32", 38.0),
        timed("small.onnx", "openvino", "bf16", 20.0),
        timed("small-int8.onnx", "openvino", "int8+bf16", 15.0),
        timed("gff", "numpy", "fp64", 70.0, group="classical"),
    ]
    floors = [network("big.onnx", "fp32", 300.0, 0.0), network("small.onnx", "fp32", 10.0, 0.0)]
    floors.append(network("small-int8.onnx", "int8+bf16", 1.0, 9.0))
    return {
        "ok": True,
        "schema": 1,
        "machine": host | {"threads": None, "versions": {}},
        "paper": {"ms": 260.0, "size": SIZE, "machine": "a GPU"},
        "floor": {"peaks": {"gemm": {}, "copy_gbs": 1.0, "gpu": None}, "networks": floors},
        "rows": rows,
        "skipped": [],
        "warnings": [],
    }


def evaluation(means, networks=None):
    rows = [{"name": "one", "method": method, "metrics": metrics} for method, metrics in means.items()]
    return {"ok": True, "rows": rows, "mean": means, "networks": networks or {}}


@pytest.fixture
def evaluations(tmp_path):
    """pairs.json, lens/eval.json and lytro.json, as `ufa eval` writes them."""
    inside = {"small": {"backend": "openvino", "precision": "bf16"}}
    names = ("big", "small", "small-int8", "gff", "sr")
    found = {
        "pairs.json": evaluation(
            {name: {"PSNR": 45 + place, "SSIM": 0.99, "Qabf": 0.7} for place, name in enumerate(names)}, inside
        ),
        "lens/eval.json": evaluation({"small": {"PSNR": 41.5, "SSIM": 0.98, "Qabf": 0.6}}),
        "lytro.json": evaluation(
            {name: {"AVG": 8.25, "STD": 62.0, "Qabf": 0.75, "VIFF": 0.96, "Qcb": 0.8} for name in names}, inside
        ),
    }
    for name, content in found.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps(content))
    return [tmp_path / name for name in found]


@pytest.fixture
def merged(result, evaluations):
    return result | {"tradeoff": tradeoff.tradeoff_rows(result, tradeoff.read_qualities(evaluations))}


def test_every_way_to_run_a_network_and_every_method_is_one_row(merged):
    ways = [(row["name"], row["backend"], row["precision"], row["p50_ms"]) for row in merged["tradeoff"]]
    assert ways == [
        ("small-int8", "openvino", "int8+bf16", 15.0),
        ("small", "openvino", "bf16", 20.0),
        ("small", "onnxruntime", "fp32", 38.0),
        ("small", "openvino", "fp32", 40.0),
        ("gff", "numpy", "fp64", 70.0),
        ("big", "openvino", "fp32", 900.0),
        ("sr", None, None, None),
    ]
    first = merged["tradeoff"][0]
    assert (first["parameters"], first["gop"], first["group"]) == (4000, 10.0, "ours")
    assert first["quality"]["pairs"]["PSNR"] == 47
    assert first["quality"]["lens"] == {}
    assert merged["tradeoff"][1]["judged"] == {"pairs": "openvino bf16", "lytro": "openvino bf16"}
    assert merged["tradeoff"][-1]["group"] == "classical"


def test_the_table_has_the_truths_metrics_and_the_papers(merged):
    lines = tradeoff.markdown_table(merged).splitlines()
    heads = [cell.strip() for cell in lines[0].strip("|").split("|")]
    truths = ["PSNR pairs", "SSIM pairs", "PSNR lens", "SSIM lens"]
    assert heads[6:] == [*truths, "AVG lytro", "STD lytro", "VIFF lytro", "Qabf lytro"]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:9]]
    assert cells[1][:8] == ["small", "4,000", "10", "openvino", "bf16", "20.0", "46.00", "0.9900"]
    assert cells[2][:6] == ["", "", "", "onnxruntime", "fp32", "38.0"]
    assert set(cells[2][6:]) == {""}
    assert cells[4][8] == "-"  # gff was not judged on lens
    assert "small on openvino bf16" in lines[-1]


def test_the_plot_has_a_panel_for_each_evaluation_and_a_name_for_each_dot(merged, tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(plots, "_saved", lambda path, figure: figures.append(figure) or path)
    plots.tradeoff_plot(tmp_path / "plot.png", merged)
    titles = [panel.get_title(loc="left") for panel in figures[0].axes]
    assert titles == ["PSNR (dB) on pairs", "PSNR (dB) on lens", "Qabf on lytro"]
    assert {panel.get_xscale() for panel in figures[0].axes} == {"log"}
    named = [{text.get_text() for text in panel.texts} for panel in figures[0].axes]
    assert named == [{"small-int8", "small", "gff", "big"}, {"small"}, {"small-int8", "small", "gff", "big"}]


def test_times_of_several_pairs_at_once_are_told_of_one_pair(result, evaluations, tmp_path, monkeypatch):
    """20 ms for four are 5 ms for one: the fastest of all, and so it stands in every figure that speaks of one pair."""
    many = timed("small.onnx", "openvino", "fp32", 20.0) | {"batch": 4, "fps": 200.0, "vs_paper": 52.0, "p90_ms": 24.0}
    given = {**result, "rows": [*result["rows"], many]}
    assert headline(given).startswith("small.onnx on openvino (fp32): 0.005 s for one 520x520 pair of 4 at once, 52.00 times")
    figures = []
    monkeypatch.setattr(plots, "_saved", lambda path, figure: figures.append(figure) or path)
    plots.latency_plot(tmp_path / "plot.png", given)
    panel = figures[0].axes[0]
    labels = [label.get_text() for label in panel.get_yticklabels()]
    assert labels[0] == "small · openvino · fp32 · batch 4"
    assert len(set(labels)) == len(labels)
    assert list(panel.lines[0].get_xdata()) == [5.0, 6.0]
    rows = tradeoff.tradeoff_rows(given, tradeoff.read_qualities(evaluations))
    assert [(row["p50_ms"], row["batch"]) for row in rows if "batch" in row] == [(5.0, 4)]
    assert [next(iter(tradeoff.table_cells(rows)))[place] for place in (0, 3)] == ["small", "openvino, batch 4"]


def test_plots_show_any_files_name_as_it_is(merged, tmp_path):
    """matplotlib would read what stands between two dollars as mathematics."""
    name = "a$\\frac$ $b\n\udcff"
    given = json.loads(json.dumps(merged).replace("small", json.dumps(name)[1:-1]))
    assert name in {Path(row["artefact"]).stem for row in given["rows"]}
    for draw in (plots.latency_plot, plots.tradeoff_plot):
        assert draw(tmp_path / f"{draw.__name__}.png", given).stat().st_size
    profile = {**given["rows"][3], "kinds": [{"kind": "Conv", "share": 1.0, "ms": 1.0, "of_limit": 0.5}], "layers_ms": 1.0}
    assert plots.layers_plot(tmp_path / "layers.png", [profile]).stat().st_size


def test_names_of_dots_that_lie_together_do_not_overlap(result, tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(plots, "_saved", lambda path, figure: figures.append(figure) or path)
    names = [f"method{number}" for number in range(5)]
    result["rows"] = [timed(name, "numpy", "fp64", 70.0 + number, "classical") for number, name in enumerate(names)]
    result["rows"].append(timed("far", "numpy", "fp64", 9000.0, "classical"))
    quality = tradeoff.MeanScores("here", {name: {"Qabf": 0.7} for name in names} | {"far": {"Qabf": 0.2}})
    result["tradeoff"] = tradeoff.tradeoff_rows(result, [quality])
    plots.tradeoff_plot(tmp_path / "plot.png", result)
    figures[0].draw_without_rendering()
    renderer = figures[0].canvas.get_renderer()
    boxes = [text.get_window_extent(renderer) for text in figures[0].axes[0].texts]
    assert len(boxes) == 6
    assert not any(one.overlaps(other) for place, one in enumerate(boxes) for other in boxes[place + 1 :])


def test_the_command_makes_the_report_from_committed_files(merged, result, evaluations, tmp_path):
    (tmp_path / "bench.json").write_text(json.dumps(result))
    app = typer.Typer()
    commands.register(app)
    options = [part for path in evaluations for part in ("--quality", str(path))]
    options = ["bench", "--from", str(tmp_path / "bench.json"), *options]
    answer = CliRunner().invoke(app, [*options, "--report", str(tmp_path / "out"), "--json"])
    assert answer.exit_code == 0, answer.output
    found = json.loads(answer.stdout)
    assert found["tradeoff"] == merged["tradeoff"]
    schema = json.loads(Path(bench_module.__file__).with_name("schema.json").read_text())
    pytest.importorskip("jsonschema").validate(found, schema)
    assert [Path(path).name for path in found["files"]] == ["report.md", "bench.json", "latency.png", "quality.png"]
    assert min(read_image(tmp_path / "out" / "quality.png").shape[:2]) > 400
    assert tradeoff.markdown_table(merged) in (tmp_path / "out" / "report.md").read_text()
    assert "time against quality" in CliRunner().invoke(app, options).stdout


def test_a_mean_over_fewer_pairs_than_others_is_told(result, tmp_path):
    rows = [
        {"name": name, "method": method, "metrics": {} if error else {"PSNR": 41.0}} | ({"error": error} if error else {})
        for method, errors in {"small": ("", "no picture"), "gff": ("", "")}.items()
        for name, error in zip(("one", "two"), errors, strict=True)
    ]
    found = evaluation({"small": {"PSNR": 41.0}, "gff": {"PSNR": 41.0}}, {}) | {"rows": rows}
    (tmp_path / "quality.json").write_text(json.dumps(found))
    (tmp_path / "bench.json").write_text(json.dumps(result))
    app = typer.Typer()
    commands.register(app)
    options = ["bench", "--from", tmp_path / "bench.json", "--quality", tmp_path / "quality.json", "--report", tmp_path / "out"]
    done = CliRunner().invoke(app, [*map(str, options), "--json"])
    assert done.exit_code == 0, done.output
    [told] = json.loads(done.stdout)["warnings"]
    assert told == "quality quality: small: a mean over only 1 of 2 pairs, not comparable with the others."
    assert told in (tmp_path / "out" / "report.md").read_text()


def test_an_evaluation_of_a_network_is_taken_as_it_is_written(result, tmp_path):
    """As `Contestant.facts` has it: with the number of parameters, and of a rival its weights."""
    facts = {"backend": "openvino", "precision": "bf16", "weights": "ours", "parameters": 49056}
    (tmp_path / "eval.json").write_text(json.dumps(evaluation({"small": {"PSNR": 41.0}}, {"small": facts})))
    result["tradeoff"] = tradeoff.tradeoff_rows(result, [tradeoff.read_quality(tmp_path / "eval.json")])
    assert "judged once for all its rows: small on openvino bf16." in tradeoff.markdown_table(result)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda found: found["rows"][0].pop("p50_ms"), r"rows\[0\] has no p50_ms"),
        (lambda found: found["rows"][0].update(p50_ms="fast"), r"rows\[0\].p50_ms is 'fast', not number"),
        (lambda found: found["rows"][0].update(size=[64]), r"rows\[0\].size has 1 entries"),
        (lambda found: found["floor"]["peaks"]["gemm"].update(fp32={"gops": "many"}), "floor.peaks.gemm.fp32"),
        (lambda found: found["floor"].update(networks=[{}]), r"floor.networks\[0\] has no artefact"),
        (lambda found: found["machine"].update(features=[]), r"machine.features is \[\], not object"),
        (lambda found: found.update(skipped=None), "skipped is None, not array"),
        (lambda found: found.update(schema=2), "schema is 2, not 1"),
        (lambda found: found.update(rows=[]), "rows has 0 entries"),
        (lambda found: found["rows"][0].update(p50_ms=float("nan")), "p50_ms is nan, which is too small"),
    ],
)
def test_a_measurement_that_is_none_is_refused_with_what_is_wrong(result, tmp_path, change, told):
    path = tmp_path / "bench.json"
    path.write_text(json.dumps(result))
    assert read_result(path)["rows"] == result["rows"]
    change(result)
    path.write_text(json.dumps(result))
    with pytest.raises(InputError, match=f"bench.json is not a bench.json: .*{told}.*; make one with"):
        read_result(path)


@pytest.mark.parametrize("path", sorted(SCRIPT.parents[1].glob("reports/*/bench.json")), ids=lambda path: path.parent.name)
def test_the_reports_here_can_be_read(path):
    assert read_result(path)["rows"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[" * 100_000,
        "[]",
        "{}",
        '{"mean": {"lap": {"Qabf": "much"}}}',
        '{"mean": [1]}',
        '{"mean": {}, "networks": {"ufa": 3}}',
    ],
)
def test_a_file_that_is_no_evaluation_is_refused(tmp_path, text):
    (tmp_path / "eval.json").write_text(text)
    with pytest.raises(InputError, match=r"is not an eval\.json: make one with"):
        tradeoff.read_quality(tmp_path / "eval.json")


def test_an_evaluation_of_stacks_is_refused_since_what_is_timed_are_pairs(tmp_path):
    (tmp_path / "eval.json").write_text('{"mean": {"ufa-stack": {"PSNR": 31.0, "detail_sharp": 1.0}}}')
    with pytest.raises(InputError, match="is of stacks, and what is timed are pairs"):
        tradeoff.read_quality(tmp_path / "eval.json")


def test_two_evaluations_of_one_name_are_refused(evaluations):
    with pytest.raises(InputError, match="two evaluations of pairs"):
        tradeoff.read_qualities([evaluations[0], evaluations[0]])


@pytest.mark.parametrize("text", ["", "[]", '{"rows": []}'])
def test_a_file_that_is_no_measurement_is_refused(tmp_path, text):
    (tmp_path / "bench.json").write_text(text)
    app = typer.Typer()
    commands.register(app)
    answer = CliRunner().invoke(app, ["bench", "--from", str(tmp_path / "bench.json")])
    assert answer.exit_code == 2
    assert "is not a bench.json" in answer.stderr.replace("\n", " ")


@pytest.fixture
def readme(tmp_path, result, evaluations, monkeypatch):
    """README's script on these reports; lens.json is missing until a test makes it."""
    spec = importlib.util.spec_from_file_location("readme_figures", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "speed").mkdir()
    (tmp_path / "speed" / "bench.json").write_text(json.dumps(result))
    monkeypatch.setattr(module, "REPORTS", tmp_path)
    return module


def test_readme_shows_the_fastest_engine_for_each_file_and_arithmetic(readme):
    lines = readme.table().splitlines()
    assert lines[0] == "| what | arithmetic | 520 x 520 | x paper | PSNR | Lytro Qabf | AVG | VIFF |"
    assert lines[2:6] == [
        "| `big` | fp32, openvino | 900 ms | 0.29 | 45.0 | 0.7500 | 8.2500 | 0.9600 |",
        "| `small` | bf16, openvino | 20.0 ms | 13.00 | 46.0 | 0.7500 | 8.2500 | 0.9600 |",
        "| `small-int8` | int8+bf16, openvino | 15.0 ms | 17.33 | 47.0 | 0.7500 | 8.2500 | 0.9600 |",
        "| gff (classical) | float | 70.0 ms | 3.71 | 48.0 | 0.7500 | 8.2500 | 0.9600 |",
    ]
    assert "|  |" not in "".join(lines)
    assert "In fp32: `small` 38.0 ms." in lines[-1]
    assert "2 cores of Some CPU with AVX2, AVX-512, VNNI and BF16, without AMX;" in lines[-1]
    assert "pictures have Qabf 0.7372, AVG 8.2901, VIFF 0.9678" in lines[-1]


def test_readme_takes_a_second_validation_set_where_there_is_one(readme, tmp_path):
    (tmp_path / "lens.json").write_text((tmp_path / "lens" / "eval.json").read_text())
    text = readme.table()
    assert "| PSNR | PSNR, wide blur | Lytro Qabf |" in text
    assert "| 46.0 | 41.5 | 0.7500 |" in text
    assert "Wide blur: PSNR on 1 pairs" in text


def test_readme_is_compared_and_written(readme, tmp_path, monkeypatch, capsys):
    (tmp_path / "methods").mkdir()
    run = {"rows": [{"method": "gff", "ms": 250.0}, {"method": "gff", "ms": 310.0}], "mean": {"gff": {"Qabf": 0.75}}}
    (tmp_path / "methods" / "lytro.json").write_text(json.dumps(run | {"kinds": {"gff": "measured"}, "networks": {}}))
    (tmp_path / "rivals").mkdir()
    for name, value in (
        ("lytro", {"Qabf": 0.75, "AVG": 8.0, "VIFF": 0.9}),
        ("pairs", {"PSNR": 40, "SSIM": 0.99}),
        ("lens", {"PSNR": 35}),
    ):
        rows = [{"method": "average", "ms": 500.0}, {"method": "average", "ms": 700.0}]
        (tmp_path / "rivals" / f"{name}.json").write_text(json.dumps({"rows": rows, "mean": {"average": value}}))
    rivals = tmp_path / "rivals" / "README.md"
    rivals.write_text(f"above\n{readme.BEGIN_RIVALS}{readme.END_RIVALS}below\n")
    monkeypatch.setattr(readme, "RIVALS_README", rivals)
    path = tmp_path / "README.md"
    marks = f"{readme.BEGIN}{{}}{readme.END}between\n{readme.BEGIN_METHODS}{{}}{readme.END_METHODS}after\n"
    path.write_text(marks.format("old\n", "old\n"))
    monkeypatch.setattr(readme, "README", path)
    monkeypatch.setattr(readme.sys, "argv", ["readme_figures.py"])
    assert readme.main() == 1
    assert capsys.readouterr().out.count("--write") == 2
    monkeypatch.setattr(readme.sys, "argv", ["readme_figures.py", "--write"])
    assert readme.main() == 0
    assert path.read_text() == marks.format(readme.table(), readme.methods_table())
    assert "| `gff` | no training | - | above | 48.0 | - | 0.7500 |" in path.read_text()
    assert "| `average` |  |  | 0.60 s | 40.0 | 0.990 | 35.0 | 0.7500 | 8.0000 | 0.9000 |" in rivals.read_text()
    monkeypatch.setattr(readme.sys, "argv", ["readme_figures.py"])
    assert readme.main() == 0
