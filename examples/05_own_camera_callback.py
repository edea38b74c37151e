"""Feed the pipeline from a camera SDK that calls you back with each picture, and take the fused ones in a callback.

python examples/05_own_camera_callback.py [--copy]

The "SDK" here is a thread that draws pictures; yours calls `on_picture` in its place.
"""

import argparse
import threading
import time

import numpy as np

from ufafuse.runtime import Fuser
from ufafuse.runtime.stream import FusedPair, Pipeline, PushSource


class DrawnCamera(threading.Thread):
    """Stands for a camera SDK: calls ``on_picture`` twenty times with a picture and its time."""

    def __init__(self, on_picture: PushSource, level: int) -> None:
        super().__init__(daemon=True)
        self._on_picture = on_picture
        self._buffer = np.full((240, 320, 3), level, np.uint8)  # one buffer for all pictures, as SDKs have it

    def run(self) -> None:
        """Call back at 20 pictures a second."""
        for number in range(20):
            self._buffer[number] = 255
            self._on_picture.push(self._buffer, timestamp=number / 20)  # copied, for the buffer is used again
            time.sleep(0.05)
        self._on_picture.end()


def main() -> None:
    """Start the pipeline, then the cameras; the pipeline ends when both have."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--copy", action="store_true", help="no network: the near frame passes through")
    arguments = parser.parse_args()
    near, far = PushSource("near camera"), PushSource("far camera")

    def use(item: FusedPair) -> None:
        latency = (time.monotonic() - item.pair.arrived) * 1000
        print(f"pair {item.number}: {item.fused.shape}, {latency:.1f} ms after the later frame came")

    pipeline = Pipeline(near, far, (lambda near, _far: near.copy()) if arguments.copy else Fuser().fuse, on_frame=use)
    pipeline.start()
    cameras = [DrawnCamera(source, level) for source, level in ((near, 60), (far, 90))]
    for camera in cameras:
        camera.start()
    pipeline.wait()
    print(f"fused {pipeline.summary()['fused']} of {pipeline.summary()['frames_in']}")


if __name__ == "__main__":
    main()
