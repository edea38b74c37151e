"""The search for the fewest layers in high precision, on networks whose answer is known."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ufafuse.calibration.search import LayerChoice, fewest_kept, part_of, sensitivity, without_slow
from ufafuse.runtime.checks.tolerances import psnr
from ufafuse.runtime.errors import CheckFailed


def additive(noise):
    """A network whose layers each add their noise: the worst PSNR of a choice is that of the sum."""
    return lambda chosen: psnr(sum(noise[name] for name in chosen))


def test_each_layer_is_measured_alone():
    told = []
    table = sensitivity(["a", "b"], lambda chosen: {("a",): 50.0, ("b",): 40.0}[tuple(chosen)], done=told.append)
    assert table == {"a": 50.0, "b": 40.0}
    assert told == ["a", "b"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(1e-3, 10), min_size=1, max_size=12), st.floats(40, 60))
def test_of_layers_that_add_their_noise_the_fewest_are_kept(noises, wanted):
    noise = {f"l{index}": value for index, value in enumerate(noises)}
    evaluate = additive(noise)
    alone = sensitivity(list(noise), evaluate)
    quietest_first = sorted(noise.values())
    most = max(
        (count for count in range(len(noise) + 1) if count == 0 or psnr(sum(quietest_first[:count])) >= wanted), default=0
    )
    if most == 0:
        with pytest.raises(CheckFailed, match="no layer can be int8"):
            fewest_kept(list(noise), alone, evaluate, min_psnr=wanted)
        return
    choice = fewest_kept(list(noise), alone, evaluate, min_psnr=wanted)
    assert len(choice.int8) == most
    assert choice.psnr >= wanted
    assert [*choice.int8, *choice.kept].sort() == list(noise).sort()


def test_a_layer_that_only_looks_sensitive_is_taken_back():
    def evaluate(chosen):
        return 40.0 if {"bad", "good"} <= set(chosen) or chosen == ["bad"] else 50.0

    alone = {"looks": 30.0, "bad": 40.0, "good": 60.0}
    choice = fewest_kept(["looks", "bad", "good"], alone, evaluate, min_psnr=45)
    assert choice.int8 == ("looks", "good")
    assert choice.kept == ("bad",)


def test_layers_to_keep_are_kept_though_they_cost_nothing():
    noise = dict.fromkeys("abc", 0.01)
    choice = fewest_kept(list("abc"), dict.fromkeys("abc", 60.0), additive(noise), min_psnr=40, keep=("b",))
    assert (choice.int8, choice.kept) == (("a", "c"), ("b",))


def test_of_two_that_fit_alone_the_one_with_more_work_is_taken_back():
    noise = {"a": 1.0, "b": 1.01, "c": 5.0}
    evaluate = additive(noise)
    alone = sensitivity(list(noise), evaluate)
    wanted = psnr(1.05)
    choice = fewest_kept(list(noise), alone, evaluate, min_psnr=wanted, shares={"a": 0.1, "b": 0.6, "c": 0.3})
    assert choice.int8 == ("a",)  # the bisection had it already
    choice = fewest_kept(["b", "c"], alone, evaluate, min_psnr=wanted, shares={"b": 0.6, "c": 0.3})
    assert choice.int8 == ("b",)


LAYERS = ("encoder.0.0.0", "encoder.0.1.0", "merge.0.near", "merge.0.far", "decoder.0.1", "head")
SHARES = dict(zip(LAYERS, (0.3, 0.3, 0.01, 0.01, 0.3, 0.08), strict=True))


def faster_by(saved):
    """A machine on which each layer's int8 saves a known time of a file of 100."""

    def gain(before, after):
        ms = [100 - sum(saved[name] for name in chosen) for chosen in (before, after)]
        return 1 - ms[1] / ms[0]

    return gain


def test_parts_that_int8_makes_slower_go_back_whole():
    saved = dict.fromkeys(LAYERS, 5.0) | {"merge.0.near": -2.0, "merge.0.far": -1.0, "head": -0.2}
    choice = LayerChoice((*LAYERS[:-2], "head"), ("decoder.0.1",), 50.0, 44.0)
    faster = without_slow(choice, SHARES, faster_by(saved), lambda _: 51.0, min_psnr=45)
    assert faster.int8 == ("encoder.0.0.0", "encoder.0.1.0", "head")  # the head's loss is too small to be seen
    assert faster.kept == ("merge.0.near", "merge.0.far", "decoder.0.1")
    assert (faster.psnr, faster.psnr_all) == (51.0, 44.0)


def test_what_is_faster_but_not_good_enough_is_not_taken():
    choice = LayerChoice(LAYERS, (), 50.0, 50.0)
    faster = without_slow(choice, SHARES, faster_by(dict.fromkeys(LAYERS, -5.0)), lambda _: 44.9, min_psnr=45)
    assert faster == choice


def test_something_stays_int8_where_all_of_it_is_slow():
    choice = LayerChoice(("head",), LAYERS[:-1], 50.0, 40.0)
    assert without_slow(choice, SHARES, faster_by({"head": -5.0}), lambda _: 60.0, min_psnr=45).int8 == ("head",)


def test_a_part_is_a_scale_of_encoder_or_decoder_or_all_of_a_kind():
    assert [part_of(name) for name in LAYERS] == ["encoder.0", "encoder.0", "merge", "merge", "decoder.0", "head"]
