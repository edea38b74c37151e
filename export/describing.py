"""What an ONNX file says for people who open it in a viewer; what programs need is in its manifest."""

import re
from typing import TYPE_CHECKING

from ufafuse.runtime.artefact import Manifest

if TYPE_CHECKING:
    import onnx

LICENCE, AUTHOR, PAPER = "Apache-2.0", "The ufafuse developers", "https://doi.org/10.1109/TIM.2021.3072124"
_ABOUT = (
    f"Made by ufafuse ({LICENCE}) after UFA-FUSE: A Novel Deep Supervised and Hybrid Model for Multifocus Image Fusion, "
    f"{PAPER}. How it was made and checked is in the metadata entry ufafuse: `ufa info FILE`."
)
_ROLES = {
    "whole": "{name}: two frames of one scene at different focus in, one frame that is sharp everywhere out.",
    "means": "{name}, first pass of exact tiling: the features of a tile of one frame, summed over a mask.",
    "tile": "{name}, second pass of exact tiling: one tile of two frames, with the means of the whole frames.",
    "encode": "{name}, first pass over a stack: the features of one frame.",
    "common": "{name}, between the passes over a stack: what all frames' features gathered, as frames are compared with it.",
    "score": "{name}, second pass over a stack: how much one frame weighs, given its features and what is common to all.",
}
_LAYOUTS = {"float": "N x 3 x H x W float32, RGB, 0 to 1", "uint8": "N x H x W x 3 uint8, BGR"}
_VALUES = {
    "near": "The frame in focus on what is near: {layout}.",
    "far": "The frame in focus on what is far, of the same size: {layout}.",
    "frame": "One frame, or a tile of it: {layout}.",
    "mask": "N x 1 x H x W float32: 1 for the pixels that count, 0 for the overlap.",
    "means_near": "N x C float32: the near frame's mean features, all scales one after the other.",
    "means_far": "N x C float32: the far frame's.",
    "mean": "N x 3 x H x W float32: the mean of all frames.",
    "count": "N x 1 x H x W float32: how many frames show each pixel.",
    "average": "The mean of all frames' features of this scale, weighed by their attention.",
    "greatest": "The greatest of all frames' features of this scale, each.",
    "common": "What is common to all frames, at this scale.",
    "stands_out": "By how much each pixel of all frames together stands out from its surroundings.",
    "features": "This frame's features of this scale.",
    "attention": "This frame's attention at this scale.",
    "weights": "This frame's scores, for each octave.",
    "fused": "The fused frame: {layout}.",
    "map": "N x 1 x H x W float32: the near frame's weight, 0 to 1.",
    "sums": "N x C float32: the features summed over the mask, all scales one after the other.",
}


def describe(model: "onnx.ModelProto", manifest: Manifest) -> None:
    """Write into ``model`` what it is, what goes in and out, and who made it under which licence, from what."""
    what = _ROLES[manifest.role].format(name=manifest.variant)
    model.producer_name, model.producer_version = "ufafuse", manifest.tools.get("ufafuse", "")
    model.doc_string, model.graph.doc_string = f"{what} {_ABOUT}", what
    for value in (*model.graph.input, *model.graph.output):
        name = re.sub(r"_\d+$", "", value.name)  # one for each scale
        value.doc_string = _VALUES[name].format(layout=_LAYOUTS[manifest.io])
    learnt = {"trained_on": manifest.extra["data"]} if "data" in manifest.extra else {}
    for key, text in {"license": LICENCE, "author": AUTHOR, "paper": PAPER, **learnt}.items():
        model.metadata_props.add(key=key, value=text)
