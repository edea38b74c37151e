"""Feed the pipeline from two GenICam cameras (GigE Vision, USB3 Vision, CoaXPress) through `harvesters`.

pip install harvesters
python examples/04_genicam_harvesters.py PRODUCER.cti --near SERIAL --far SERIAL [--camera-clock] [--out line.mkv]

PRODUCER.cti is the GenTL producer that comes with your camera's SDK. With --camera-clock pairs are made by the cameras' own
timestamps, which need one clock (PTP); otherwise by the moments of arrival. The package `genicam` brings simulated cameras
along, to try this without hardware: PRODUCER.cti is then viky.cti in its folder, the serial numbers are 0, 1 and 2.
"""

import argparse
import time
from typing import Any

import numpy as np

try:
    from genicam.gentl import GenericException
    from harvesters.core import Harvester
except ModuleNotFoundError:
    raise SystemExit("this example needs harvesters, which is not installed: run pip install harvesters") from None

from ufafuse.runtime import Fuser
from ufafuse.runtime.errors import UfaError
from ufafuse.runtime.pfnc import format_of, picture_from
from ufafuse.runtime.stream import Frame, Pipeline, PipelineOptions, Source, sink_from_text
from ufafuse.runtime.stream.sources import SourceLost


class GenicamSource(Source):
    """One camera. The pipeline opens it again by itself when it is lost."""

    def __init__(self, harvester: Harvester, serial: str, *, camera_clock: bool) -> None:
        self.name = f"GenICam {serial}"
        self._harvester = harvester
        self._serial = serial
        self._camera_clock = camera_clock
        self._camera: Any = None
        self._count = 0

    def open(self) -> None:
        """Create and start the image acquirer; `Harvester.update` is left alone here, it would stop the other camera."""
        try:
            self._camera = self._harvester.create({"serial_number": self._serial})
            self._camera.start()
        except (GenericException, ValueError) as error:
            raise SourceLost(f"{self.name} does not open: {error}") from error

    def read(self, timeout: float) -> Frame | None:
        """The next picture; the buffer goes back to the camera, so the picture is a copy."""
        try:
            buffer = self._camera.try_fetch(timeout=timeout)
            if buffer is None:
                return None
            arrived = time.monotonic()
            with buffer:
                exposed = buffer.timestamp_ns / 1e9 if self._camera_clock else arrived
                part = buffer.payload.components[0]
                filled = np.frombuffer(buffer.module.raw_buffer, np.uint8)[: buffer.module.size_filled]
                picture = to_picture(
                    filled[part.data_offset :], part.height, part.width, part.data_format, padding=part.x_padding
                )
        except GenericException as error:
            raise SourceLost(f"{self.name} stopped: {error}") from error
        self._count += 1
        return Frame(picture, self._count - 1, exposed, arrived)

    def close(self) -> None:
        """Stop and let go of the camera."""
        if self._camera is not None:
            self._camera.destroy()
            self._camera = None


def to_picture(data: np.ndarray, height: int, width: int, pixel_format: str, *, padding: int = 0) -> np.ndarray:
    """H x W, or H x W x 3 BGR, uint8 or uint16 with the camera's levels, as the pipeline takes it; no view of ``data``.

    Args:
        data: The bytes that the camera sent, from the picture's first one on; what follows it (chunks) is not looked at.
        height, width: In pixels.
        pixel_format: GenICam's name.
        padding: Bytes behind each line.

    A buffer that is not whole raises `ufafuse.runtime.pfnc.BrokenBuffer`, which the pipeline counts as a broken frame.
    """
    layout = format_of(pixel_format)
    stride = layout.line_bytes(width) + padding
    size = stride * height if padding else layout.line_bytes(width, height)
    return picture_from(data.reshape(-1)[:size], layout, height, width, stride=stride if padding else None)


def main() -> None:
    """Run until interrupted, or for --seconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("producer")
    parser.add_argument("--near", default="0", metavar="SERIAL")
    parser.add_argument("--far", default="1", metavar="SERIAL")
    parser.add_argument("--camera-clock", action="store_true")
    parser.add_argument("--max-skew", type=float, default=0.02, metavar="SECONDS")
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--out", default="none")
    parser.add_argument("--copy", action="store_true", help="no network: the near frame passes through")
    arguments = parser.parse_args()

    harvester = Harvester()
    harvester.add_file(arguments.producer, check_existence=True, check_validity=True)
    harvester.update()
    near, far = (
        GenicamSource(harvester, serial, camera_clock=arguments.camera_clock) for serial in (arguments.near, arguments.far)
    )
    pipeline = Pipeline(
        near,
        far,
        (lambda near, _far: near.copy()) if arguments.copy else Fuser().fuse,
        sink_from_text(arguments.out),
        options=PipelineOptions(max_skew=arguments.max_skew, seconds=arguments.seconds),
        on_event=lambda event: print(f"{event.side} {event.kind}: {event.text}"),
    )
    try:
        figures = pipeline.run()
    finally:
        harvester.reset()
    print(f"in {figures['frames_in']}, fused {figures['fused']}, unmatched {figures['unmatched']}")


if __name__ == "__main__":
    try:
        main()
    except UfaError as error:  # such as a video of that name that is there already
        raise SystemExit(f"error: {error}") from None
