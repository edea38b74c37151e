"""Cases that are kept for several engines: the same ones, whether in memory or in a file."""

import tempfile

import numpy as np
import pytest

from ufafuse.export.kept_cases import KeptCases
from ufafuse.runtime.checks.cases import Case
from ufafuse.runtime.errors import OutputError


def cases(count):
    rng = np.random.default_rng(0)
    for number in range(count):
        near, far = rng.integers(0, 255, (2, 9, 8 + number, 3), np.uint8)
        weight = rng.random(near.shape[:2], np.float32) if number % 2 else None
        yield Case(f"p{number}", near, far, rng.random(near.shape, np.float32), 0.5, weight, 0.25)


@pytest.mark.parametrize("memory", [0, 2000, 1 << 20])
def test_what_is_kept_is_what_was_given(memory):
    kept, given = KeptCases(cases(4), memory=memory), list(cases(4))
    assert len(kept) == 4
    for _ in range(2):  # once for each engine
        for one, other in zip(kept, given, strict=True):
            assert (one.name, one.noise, one.weight_noise) == (other.name, other.noise, other.weight_noise)
            for name in ("near", "far", "reference", "weight"):
                np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert [case.name for case in kept[1:3]] == ["p1", "p2"]


def test_no_more_than_asked_stays_in_memory():
    kept = KeptCases(cases(4), memory=0)
    assert sum(case.reference.nbytes for case, _ in kept._kept) == 0


def test_a_full_disk_is_told(monkeypatch):
    def refused(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", refused)
    with pytest.raises(OutputError, match=r"cannot be kept in .*: No space left on device\. Take fewer pairs"):
        KeptCases(cases(1), memory=0)
