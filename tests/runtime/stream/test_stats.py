import sys
import time

import numpy as np
import pytest

from ufafuse.runtime.stream.stats import LatencyHistogram, Meter, resident_mib


@pytest.mark.parametrize("share", [0.01, 0.5, 0.95, 0.99, 1.0])
def test_quantiles_are_right_to_one_per_cent(share):
    values = np.random.default_rng(3).lognormal(3, 1, 5000)
    histogram = LatencyHistogram()
    for value in values:
        histogram.add(float(value))
    exact = np.quantile(values, share, method="inverted_cdf")
    assert histogram.quantile_ms(share) == pytest.approx(exact, rel=0.011)


def test_an_empty_histogram_has_no_quantile():
    assert LatencyHistogram().quantile_ms(0.5) is None


def test_extremes_are_kept_in_the_outer_buckets():
    histogram = LatencyHistogram()
    for value in (0.0, 1e-9, 1e12):
        histogram.add(value)
    assert histogram.total == 3
    assert histogram.quantile_ms(0.01) == pytest.approx(0.01)
    assert histogram.quantile_ms(1.0) > 3_600_000


def test_counts_below_a_bound():
    histogram = LatencyHistogram()
    for value in (1, 2, 3, 50, 800):
        histogram.add(value)
    assert [histogram.below(bound) for bound in (0.5, 10, 100, 1e6)] == [0, 3, 4, 5]


def test_memory_does_not_grow():
    histogram = LatencyHistogram()
    before = sys.getsizeof(histogram._counts)
    for value in range(20_000):
        histogram.add(value)
    assert sys.getsizeof(histogram._counts) == before


def test_the_meter_counts_what_was_late_and_what_was_not_written():
    meter = Meter(late_after=0.1)
    now = time.monotonic()
    for age, written in ((0.01, True), (0.5, True), (0.01, False)):
        meter.fusion_done(0.002)
        meter.output_done(now - age, 0.001, written=written)
    figures = meter.figures()
    assert (figures["fused"], figures["written"], figures["late"]) == (3, 2, 1)
    assert figures["latency_ms"]["p99"] == pytest.approx(500, rel=0.05)
    assert meter.last_output is not None


def test_a_meter_without_frames_has_figures():
    figures = Meter(late_after=0.1).figures()
    assert figures["latency_ms"] == {"p50": None, "p95": None, "p99": None}
    assert figures["fps"] == figures["fps_now"] == 0


def test_resident_memory_is_plausible():
    assert 10 < resident_mib() < 100_000
