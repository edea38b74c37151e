"""Rows of earlier evaluations beside new ones."""

import json

import pytest

from ufafuse.benchmarks.evaluate import EvalRow, Evaluation
from ufafuse.benchmarks.joined import copy_pictures, joined
from ufafuse.runtime.errors import InputError


def evaluation(methods, names=("one", "two"), avg=5.0):
    rows = [EvalRow(name, method, {"AVG": avg, "VIFF": float("nan")}, 2.0) for method in methods for name in names]
    kinds = {method: "ours" if method.startswith("rival") else "measured" for method in methods}
    return Evaluation(rows, {"rival-x": {"parameters": 7}} if "rival-x" in methods else {}, kinds=kinds)


def written(tmp_path, found, **changed):
    path = tmp_path / "earlier" / "eval.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(found.to_json() | changed))
    return path


def test_methods_of_an_earlier_run_stand_behind_those_of_this_one(tmp_path):
    earlier = written(tmp_path, evaluation(["average", "rival-x"]))
    found = joined(evaluation(["average", "lap"]), earlier)
    assert found.methods == ["average", "lap", "rival-x"]
    assert len(found.rows) == 6
    assert found.kinds["rival-x"] == "ours"
    assert found.networks == {"rival-x": {"parameters": 7}}
    assert found.mean("rival-x") == {"AVG": 5.0}


@pytest.mark.parametrize(
    ("earlier", "message"),
    [
        (evaluation(["average", "rival-x"], ["one", "three"]), r"other pairs \(three is only in it\)"),
        (evaluation(["average", "rival-x"], avg=5.1), "has AVG 5.10000 for average on one, and this run 5.00000"),
        (evaluation(["rival-x"]), "shares no method without training"),
    ],
)
def test_what_cannot_be_the_same_pairs_is_refused(tmp_path, earlier, message):
    with pytest.raises(InputError, match=message):
        joined(evaluation(["average", "rival-x"]), written(tmp_path, earlier))


@pytest.mark.parametrize(
    "text", ["", "[" * 100_000, "[]", "{}", '{"rows": []}', '{"rows": [3]}', '{"rows": [{"name": "one"}]}']
)
def test_what_is_no_evaluation_is_refused(tmp_path, text):
    path = tmp_path / "eval.json"
    path.write_text(text)
    with pytest.raises(InputError, match="is no evaluation of pairs"):
        joined(evaluation(["average"]), path)
    with pytest.raises(InputError, match="cannot be read"):
        joined(evaluation(["average"]), tmp_path / "none.json")
    with pytest.raises(InputError, match="is no evaluation of pairs"):
        joined(evaluation(["average"]), written(tmp_path, evaluation(["average"]), stacks=[]))


def test_pictures_are_copied_where_there_are_some(tmp_path):
    earlier = written(tmp_path, evaluation(["average", "rival-x"]))
    (earlier.parent / "fused" / "rival-x").mkdir(parents=True)
    (earlier.parent / "fused" / "rival-x" / "one.png").write_bytes(b"one")
    copy_pictures(earlier, tmp_path / "out" / "fused", ["rival-x"], ["one", "two"])
    assert [path.name for path in (tmp_path / "out" / "fused" / "rival-x").iterdir()] == ["one.png"]
    copy_pictures(earlier, earlier.parent / "fused", ["rival-x"], ["one"])  # into the folder of the earlier one itself
    assert (earlier.parent / "fused" / "rival-x" / "one.png").read_bytes() == b"one"


@pytest.mark.parametrize(
    "changed",
    [
        {"networks": 3},
        {"networks": {"rival-x": 3}},
        {"kinds": [1]},
        {"kinds": {"average": "best"}},
        {"rows": [{"name": "one", "method": "average", "metrics": {"AVG": "high"}}]},
        {"rows": [{"name": "one", "method": "average", "metrics": [5.0]}]},
        {"rows": [{"name": "one", "method": "average", "metrics": {}, "ms": "fast"}]},
        {"rows": [{"name": "one", "method": "../../average", "metrics": {"AVG": 5.0}}]},
    ],
)
def test_an_evaluation_with_something_else_in_it_is_none(tmp_path, changed):
    with pytest.raises(InputError, match="is no evaluation of pairs"):
        joined(evaluation(["average"]), written(tmp_path, evaluation(["average"]), **changed))
