"""Fit the small network that says how far detail between the planes of focus is raised, and write its numbers.

python .ci/fit_gaps.py runtime/models/focus-gaps.json --images photos

The photographs, those of train/DATA.md for what is bundled, are among the surfaces of the drawn stacks. One stack of thirteen
is held out; by how many dB they come nearer to their truth is printed, and kept in the file. What is bundled was fitted to the
2400 stacks that are drawn unless told otherwise: half an hour to an hour of one core, and 1.5 GB of memory.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ufafuse.network.stacknet import StackNet
from ufafuse.network.weights import load_weights
from ufafuse.runtime.models import weights_path
from ufafuse.runtime.texts import json_text
from ufafuse.runtime.writing import write_json
from ufafuse.train.gaps import KINDS, Example, drawn_examples, fit, gained, shallow_stack
from ufafuse.train.photos import Pictures

DIGITS = 5
SHALLOW = 9  # of so many stacks one is added
HELD_EVERY, HELD = 13, 7  # not a multiple of the kinds' number: all are among those that are held out


def numbers(array: Any) -> list[Any]:  # noqa: ANN401 - floats, as deep as the array
    """The array with few digits."""
    return [numbers(each) if each.ndim else float(f"{each:.{DIGITS}g}") for each in np.asarray(array)]


def main() -> None:
    """Draw, fit, judge, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--images", type=Path, help="photographs among the surfaces of the drawn stacks")
    parser.add_argument("--count", type=int, default=1080, help="of stacks, for each seed; a ninth more are shallow")
    parser.add_argument("--seeds", type=int, nargs="+", default=[30, 31], help="of the stacks")
    parser.add_argument("--seed", type=int, default=0, help="of the fit")
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    net = load_weights(weights_path("ufa-stack"))
    assert isinstance(net, StackNet)
    photos = Pictures(asked.images) if asked.images else ()
    examples: list[Example] = []
    for kinds, count in ((KINDS, asked.count), ((shallow_stack,), asked.count // SHALLOW)):
        for seed in asked.seeds:
            for example in drawn_examples(net, count, seed, photos, kinds=kinds):
                examples.append(example)
                print(f"\r{len(examples)} stacks", end="", flush=True)
    held = examples[HELD::HELD_EVERY]
    fitted = fit([each for number, each in enumerate(examples) if number % HELD_EVERY != HELD], seed=asked.seed)
    better = gained(fitted, held)
    told = {"stacks": len(examples), "seeds": asked.seeds, "seed": asked.seed, "photographs": len(photos)}
    told |= {"gained_db": round(float(np.mean(better)), 3), "worst_db": round(float(np.min(better)), 3)}
    print("\n" + json_text(told))
    layers = vars(fitted.layers()).items()
    told |= {name: {"weight": numbers(weight), "bias": numbers(bias)} for name, (weight, bias) in layers}
    write_json(asked.out, told)


if __name__ == "__main__":
    main()
