"""The line that people watch."""

from ufafuse.runtime.stream.status import line_of


def figures(**changes):
    usual = {
        "frames_in": [123456, 123456],
        "fused": 123400,
        "dropped": 40,
        "unmatched": 16,
        "late": 3,
        "latency_ms": {"p50": 21.3, "p95": 48.0, "p99": None},
        "fps_now": 29.97,
        "sources": [{"name": "a", "state": "reading"}, {"name": "b", "state": "reading"}],
        "alarms": [{"alarm": "sharp<0.6 for 2s", "on": False, "count": 2}],
    }
    return usual | changes


def test_eighty_columns_keep_the_rate_and_what_is_not_well():
    assert line_of(figures())[:80].startswith("in 123456/123456  30.0 /s  p50 21 p95 48 p99 - ms  fused 123400")
    lost = figures(sources=[{"name": "a", "state": "lost"}, {"name": "b", "state": "ended"}])
    lost["alarms"][0]["on"] = True
    assert line_of(lost)[:80].startswith("in 123456/123456  30.0 /s  near lost  ALARM sharp<0.6 for 2s  p50 21")
