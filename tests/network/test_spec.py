"""What is computed from a spec, and which specs are refused."""

import dataclasses
from typing import Any

import pytest

from tests.networks import TINY_STACKS
from ufafuse.network.spec import SPECS, Spec, find_spec
from ufafuse.network.weights import build_model
from ufafuse.runtime.errors import InputError, ModelError


@pytest.mark.parametrize(
    ("name", "stride", "halo"), [("ufa", 1, 14), ("ufa-edge", 8, 93), ("ufa-nano", 8, 77), ("ufa-free", 16, 153)]
)
def test_stride_and_halo_of_the_variants_are_frozen(name: str, stride: int, halo: int) -> None:
    assert (SPECS[name].stride, SPECS[name].halo) == (stride, halo)


def test_without_spatial_attention_the_halo_is_smaller() -> None:
    assert dataclasses.replace(SPECS["ufa"], attention="no_spatial").halo == 11
    assert dataclasses.replace(SPECS["ufa"], attention="no_channel").halo == 14


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())
def test_a_spec_survives_its_dictionary(spec: Spec) -> None:
    assert Spec.from_dict(spec.to_dict()) == spec


GATHERS = {
    "gathers": True,
    "detail": True,
    "symmetric": True,
    "head": "select",
    "residual": False,
    "attention": "no_channel",
    "fold": 8,
}


@pytest.mark.parametrize(
    "change",
    [
        {"widths": ()},
        {"widths": (8, 8)},
        {"fold": 0},
        {"encoder_blocks": (0,)},
        {"head": "guess"},
        {"attention": "some"},
        {"symmetric": True},
        {"symmetric": True, "head": "select", "widths": (7,)},
        {"widths": (8, 8), "encoder_blocks": (1, 1), "decoder_blocks": (0, 1)},
        {"detail": True},
        {"detail": True, "symmetric": True, "head": "select", "residual": True},
        {"gathers": True},
        {**GATHERS, "attention": "both"},
        {**GATHERS, "fold": 3},
        {"gathers": True, "symmetric": True, "head": "select", "attention": "no_channel"},
    ],
)
def test_a_description_that_is_no_network_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ModelError, match="network description"):
        dataclasses.replace(SPECS["ufa"], **change)


def test_a_description_of_a_network_that_gathers_is_one() -> None:
    assert dataclasses.replace(SPECS["ufa"], **GATHERS).stride == 8


def test_a_dictionary_that_is_no_description_is_refused() -> None:
    with pytest.raises(ModelError, match="unknown entries"):
        Spec.from_dict({**SPECS["ufa"].to_dict(), "colour": 1})
    with pytest.raises(ModelError, match="incomplete"):
        Spec.from_dict({"name": "ufa"})


def test_an_unknown_variant_is_named_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"'ufo'.*ufa, ufa-edge, ufa-nano"):
        find_spec("ufo")


FREE = {"symmetric": False, "head": "select", "residual": True, "detail": False}


PAIRS = [name for name, spec in SPECS.items() if not spec.gathers]


def check_parameters(spec: Spec) -> None:
    assert spec.parameters == sum(parameter.numel() for parameter in build_model(spec, seed=0).parameters())


@pytest.mark.parametrize("name", SPECS)
def test_parameters_are_those_of_the_network(name: str) -> None:
    check_parameters(SPECS[name])


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("changed", [{"attention": "none"}, FREE])
def test_parameters_are_those_of_a_changed_network(name: str, changed: dict[str, Any]) -> None:
    check_parameters(dataclasses.replace(SPECS[name], **changed))


@pytest.mark.parametrize("spec", TINY_STACKS.values(), ids=TINY_STACKS.keys())
def test_parameters_are_those_of_a_network_that_gathers(spec: Spec) -> None:
    check_parameters(spec)
