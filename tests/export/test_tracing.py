"""The exporter is told what is free, and caught where it thinks otherwise."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ufafuse.export.tracing import trace
from ufafuse.runtime.errors import ModelError

FREE = {0: "batch", 2: "height", 3: "width"}


class Apart(nn.Module):
    def forward(self, near, far):
        return near * 2, far.mean((2, 3))


class Doubling(nn.Module):
    def forward(self, near):
        return F.interpolate(F.pad(near, (0, 0, 0, 0)), scale_factor=2.0, mode="bilinear", align_corners=False)


class Resizing(nn.Module):
    def forward(self, near):
        return F.interpolate(near, size=(16, 16), mode="bilinear", align_corners=False)


def frame():
    return torch.zeros(2, 3, 7, 9)


def test_dimensions_that_may_differ_are_not_shared():
    with pytest.raises(ModelError, match="differ from the other"):
        trace(Apart(), {"near": frame(), "far": frame()}, ["a", "b"], {"near": FREE, "far": FREE})


def test_one_dimension_does_not_get_two_names():
    twice = {**FREE, 3: "height"}
    with pytest.raises(ModelError, match="height of input near"):
        trace(Doubling(), {"near": frame()}, ["a"], {"near": twice})


def test_doubling_is_a_constant_scale_and_padding_by_nothing_is_gone():
    model = trace(Doubling(), {"near": frame()}, ["a"], {"near": FREE})
    operators = [node.op_type for node in model.graph.node]
    assert operators.count("Resize") == 1
    assert not {"Pad", "Shape"} & set(operators)
    assert not any(node.metadata_props or node.doc_string for node in model.graph.node)


def test_a_size_that_does_not_follow_the_frame_is_refused():
    with pytest.raises(ModelError, match="resizes by"):
        trace(Resizing(), {"near": frame()}, ["a"], {"near": FREE})
