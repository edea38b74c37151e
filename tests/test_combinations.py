"""Which cases of a test run where the fast tests run as a whole."""

import itertools
from types import SimpleNamespace

import pytest

from tests.conftest import _LEAST, _few_combinations, _spread


def cases(name, *marked, marks=()):
    """Items as pytest collects them: every combination of what is parametrized."""
    names = [tuple(each.split(",")) for each, _ in marked]
    made = []
    for number, values in enumerate(itertools.product(*(values for _, values in marked))):
        given = {}
        for one, value in zip(names, values, strict=True):
            given |= dict(zip(one, value if len(one) > 1 else (value,), strict=True))
        item = SimpleNamespace(nodeid=f"{name}[{number}]", callspec=SimpleNamespace(params=given), values=values)
        item.get_closest_marker = lambda wanted: wanted in marks or None
        item.iter_markers = lambda wanted: [SimpleNamespace(args=each) for each in marked] if wanted == "parametrize" else []
        made.append(Item(item))
    return made


class Item:
    """By identity, as pytest's are."""

    def __init__(self, about):
        vars(self).update(vars(about))


def test_each_value_of_each_parameter_is_shown():
    items = cases("t", ("size,count", [(1, 2), (3, 4), (5, 6), (7, 8), (9, 0)]), ("dtype", "abc"), ("align", [True, False]))
    kept, others = _few_combinations(items)
    assert len(kept) == 5
    assert len(kept) + len(others) == 30
    for place, count in enumerate((5, 3, 2)):
        assert len({item.values[place] for item in kept}) == count


def test_few_values_are_shown_in_several_combinations():
    kept, _ = _few_combinations(cases("t", ("a", [1, 2]), ("b", [1, 2]), ("c", [1, 2])))
    assert len(kept) == _LEAST
    for one, other in itertools.combinations(range(3), 2):  # of any two parameters nearly each combination
        assert len({(item.values[one], item.values[other]) for item in kept}) >= 3


@pytest.mark.parametrize("given", [([("a", range(40))], ()), ([("a", [1, 2, 3]), ("b", [1, 2, 3])], ("every_case",)), ([], ())])
def test_what_is_listed_or_marked_runs_whole(given):
    items = cases("t", *given[0], marks=given[1])
    assert _few_combinations(items) == (items, [])


def test_tests_do_not_show_values_for_each_other():
    one, other = (cases(name, ("a", [1, 2, 3]), ("b", [1, 2, 3])) for name in ("one", "other"))
    kept, _ = _few_combinations([*one, *other])
    assert [len([item for item in kept if item in of]) for of in (one, other)] == [4, 4]


def test_a_number_of_cases_is_spread():
    items = cases("t", ("a", range(10)))
    assert [item.values for item in _spread(items, 4)[0]] == [(0,), (3,), (6,), (9,)]
