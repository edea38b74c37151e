"""Fuse a simulated line live and look at each fused frame as it comes.

python examples/03_stream_sim.py [--copy] [--seconds 5] [--out line.mkv]

With --copy no network is used: the near frame passes through, to see the line itself.
"""

import argparse

import numpy as np

from ufafuse.runtime import Fuser
from ufafuse.runtime.errors import UfaError
from ufafuse.runtime.stream import FusedPair, Pipeline, PipelineOptions, sink_from_text, source_from_text
from ufafuse.runtime.stream.drawn_numbers import read_number
from ufafuse.runtime.stream.messages import FAR, NEAR

LINE = "sim:?rate=20&defocus=10&jitter=5&drop=0.02"


def copied(near: np.ndarray, far: np.ndarray) -> np.ndarray:  # noqa: ARG001 - what a fusing function is given
    """No fusion: the near frame."""
    return near.copy()


def look(item: FusedPair) -> None:
    """Called with every fused pair, after it was written."""
    if item.number % 20 == 0:
        number = read_number(item.fused, NEAR)
        print(f"pair {item.number}: frames {item.pair.near.index}/{item.pair.far.index}, the picture says {number}")


def main() -> None:
    """Run for a while and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--copy", action="store_true")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--out", default="none")
    arguments = parser.parse_args()
    pipeline = Pipeline(
        source_from_text(LINE, NEAR),
        source_from_text(LINE + "&seed=1", FAR),
        copied if arguments.copy else Fuser().fuse,
        sink_from_text(arguments.out),
        options=PipelineOptions(seconds=arguments.seconds),
        on_frame=look,
        on_event=lambda event: print(f"{event.side} {event.kind}: {event.text}"),
    )
    figures = pipeline.run()
    print(
        f"in {figures['frames_in']}, fused {figures['fused']}, dropped {figures['dropped']}, unmatched {figures['unmatched']}"
    )
    print(f"latency {figures['latency_ms']} ms")


if __name__ == "__main__":
    try:
        main()
    except UfaError as error:  # such as a video of that name that is there already
        raise SystemExit(f"error: {error}") from None
