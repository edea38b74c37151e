"""Fit the small network that says how far detail between the planes of focus is raised, and write its numbers.

python .ci/fit_gaps.py runtime/models/focus-gaps.json --images photos --processes 2

The photographs, those of train/DATA.md for what is bundled, are among the surfaces of the drawn stacks. A tenth of the stacks
is held out; by how many dB they come nearer to their truth is printed, and kept in the file.
"""

import argparse
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ufafuse.network.stacknet import StackNet
from ufafuse.network.weights import load_weights
from ufafuse.runtime.models import weights_path
from ufafuse.runtime.texts import json_text
from ufafuse.runtime.writing import write_json
from ufafuse.train.gaps import Example, drawn_examples, fit, gained
from ufafuse.train.photos import Pictures

DIGITS = 5


def numbers(array: Any) -> list[Any]:  # noqa: ANN401 - floats, as deep as the array
    """The array with few digits."""
    return [numbers(each) if each.ndim else float(f"{each:.{DIGITS}g}") for each in np.asarray(array)]


def drawn(numbers: range, seed: int, images: Path | None) -> list[tuple[int, Example]]:
    """Some of the stacks, by their numbers."""
    torch.set_num_threads(1)
    net = load_weights(weights_path("ufa-stack"))
    assert isinstance(net, StackNet)
    photos = Pictures(images) if images else ()
    return list(zip(numbers, drawn_examples(net, numbers, seed, photos), strict=True))


def all_drawn(asked: argparse.Namespace) -> Iterator[tuple[int, Example]]:
    """All stacks, a few at a time in each process."""
    at_once = 9
    parts = [range(first, min(first + at_once, asked.count)) for first in range(0, asked.count, at_once)]
    with ProcessPoolExecutor(asked.processes) as pool:
        for part in as_completed([pool.submit(drawn, numbers, asked.seed, asked.images) for numbers in parts]):
            yield from part.result()


def main() -> None:
    """Draw, fit, judge, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--images", type=Path, help="photographs among the surfaces of the drawn stacks")
    parser.add_argument("--count", type=int, default=2286, help="of stacks")
    parser.add_argument("--steps", type=int, default=6000, help="of the fit")
    parser.add_argument("--seed", type=int, default=1, help="draws the stacks")
    parser.add_argument("--start", type=int, default=2, help="draws the weights that the fit begins with, and its batches")
    parser.add_argument("--processes", type=int, default=1)
    asked = parser.parse_args()
    found: dict[int, Example] = {}
    for number, example in all_drawn(asked):
        found[number] = example
        print(f"\r{len(found)} of {asked.count} stacks", end="", flush=True)
    examples = [found[number] for number in range(asked.count)]
    held = examples[::10]
    fitted = fit([each for number, each in enumerate(examples) if number % 10], steps=asked.steps, seed=asked.start)
    better = gained(fitted, held)
    told = {"stacks": asked.count, "seed": asked.seed, "photographs": len(Pictures(asked.images)) if asked.images else 0}
    told |= {"gained_db": round(float(np.mean(better)), 3), "worst_db": round(float(np.min(better)), 3)}
    print("\n" + json_text(told))
    layers = [{"weight": numbers(weight), "bias": numbers(bias)} for weight, bias in fitted.numbers()]
    write_json(asked.out, {**told, "layers": layers})


if __name__ == "__main__":
    main()
