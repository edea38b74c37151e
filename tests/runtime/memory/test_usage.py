"""Measuring this process's memory."""

import time
from pathlib import Path

import pytest

from tests.runtime.memory.taker import MB, Taker, alone, beside_another_thread, of_an_engine, taken, within
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.memory import usage as memory
from ufafuse.runtime.memory.usage import Appetite, appetite_of, available_bytes, peak_bytes, resident_bytes, watched


def test_resident_grows_with_what_is_touched():
    before = resident_bytes()
    block = taken(64 * MB)
    assert resident_bytes() - before > 60 * MB
    block.close()


def test_a_peak_that_is_over_when_it_is_asked_for():
    with watched() as peak:
        before = resident_bytes()
        block = taken(80 * MB)
        time.sleep(0.05)
        block.close()
    assert peak.bytes - before > 70 * MB
    assert resident_bytes() - before < 20 * MB


def test_a_system_that_cannot_tell(monkeypatch):
    monkeypatch.setattr(memory, "_STATM", Path("/nowhere"))
    with pytest.raises(InputError, match=r"`max_memory` needs /nowhere.*omit it"):
        resident_bytes()


def test_available_is_the_least_of_all_limits(monkeypatch, tmp_path):
    (tmp_path / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable: 5000 kB\n")
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "meminfo")
    for left, expected in ((None, 5000 << 10), (30_000, 30_000), (0, 0), (1 << 40, 5000 << 10)):
        monkeypatch.setattr(memory, "memory_left", lambda left=left: left)
        assert available_bytes() == expected
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "no")
    monkeypatch.setattr(memory, "memory_left", lambda: None)
    assert available_bytes() > 1 << 60


@pytest.mark.parametrize("for_a_size", [0, 25 * MB])
@pytest.mark.parametrize("keeps", [False, True])
def test_the_appetite_is_measured(keeps, for_a_size):
    told = alone(of_an_engine, keeps, for_a_size)
    assert told["per_pixel"] == pytest.approx(400, rel=0.1)
    assert told["kept"] == pytest.approx(told["really_kept"], abs=12e6)
    assert told["of_500"] == pytest.approx(told["peak_of_500"], abs=12e6)


@pytest.mark.parametrize("at", range(1, 6))
@pytest.mark.parametrize("other", [300 * MB, -300 * MB], ids=["taken", "given back"])
def test_what_another_thread_does_with_memory_meanwhile_is_not_the_models(at, other):
    """A network of 100 MB a megapixel was taken for one of 2 while a large JPEG was looked into, and 10 GB for 3."""
    assert alone(beside_another_thread, at, other)["per_pixel"] == pytest.approx(400, rel=0.1)


def test_no_trial_passes_the_limit():
    told = alone(within, 60 * MB)
    assert told["largest"] == 256  # 512 would take 105 MB more
    assert told["per_pixel"] == pytest.approx(400, rel=0.25)


def test_a_limit_below_what_is_held_already():
    with pytest.raises(InputError, match=r"a memory of 1 MB is too little: .* MB are taken before the first tile"):
        appetite_of(Taker(keeps=False), limit=1e6)


def test_windows_for_an_amount():
    appetite = Appetite(once=10e6, per_pixel=100, kept=0)
    assert appetite.pixels_within(20e6) == 100_000
    assert appetite.pixels_within(5e6) == 0


@pytest.mark.parametrize("told", [True, False])
def test_the_peak_is_of_all_that_ever_was_held(tmp_path, monkeypatch, told):
    """From the kernel's file, and where there is none from the system's call."""
    if not told:
        monkeypatch.setattr(memory, "_STATUS", tmp_path / "none")
    block = taken(64 * MB)
    held = resident_bytes()
    block.close()
    assert resident_bytes() < held - 32 * MB
    assert peak_bytes() > held - 8 * MB
