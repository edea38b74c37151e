"""`Fuser`: two frames of one scene at different focus in, one that is sharp everywhere out."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ufafuse.runtime.errors import InputError
from ufafuse.runtime.frames import Frame, check_pair, from_bgr_bytes, from_planes, to_bgr_bytes, to_planes
from ufafuse.runtime.models import model_path
from ufafuse.runtime.session import Session, SessionOptions, open_session

if TYPE_CHECKING:
    from types import TracebackType

    from numpy.typing import NDArray


class Fuser:
    """Fuses frames of any kind with one loaded model.

    Args:
        model: A bundled network's name, a model file, or nothing for the default network.
        backend: ``"auto"``, ``"openvino"``, ``"onnxruntime"`` or ``"tensorrt"``.
        precision: ``"fp32"``, ``"bf16"``, ``"fp16"`` or ``"int8"``; nothing leaves it to the backend.
        threads: CPU threads; nothing leaves it to the backend.

    Raises:
        InputError, ModelError, BackendError: As `open_session`.

    Example:
        >>> fused = Fuser().fuse(cv2.imread("near.png"), cv2.imread("far.png"))
    """

    def __init__(
        self,
        model: str | Path | None = None,
        *,
        backend: str = "auto",
        precision: str | None = None,
        threads: int | None = None,
    ) -> None:
        self.model = model_path(model, precision=precision)
        options = SessionOptions(precision=precision, threads=threads)
        self.session: Session = open_session(self.model, backend=backend, options=options)
        self._closing = threading.Lock()

    @property
    def backend(self) -> str:
        """The engine in use."""
        return self.session.backend

    @property
    def precision(self) -> str:
        """The arithmetic in use, such as ``"fp32"`` or ``"int8+fp32"``."""
        return self.session.precision

    def fuse(self, near: Frame, far: Frame, *, order: str = "bgr", white: float | None = None) -> Frame:
        """Fuse one pair.

        Args:
            near, far: H x W, H x W x 3 or H x W x 4; uint8, uint16, or float32 in [0, 1]; alike in shape and dtype.
            order: Channel order of colour frames: ``"bgr"`` (OpenCV's) or ``"rgb"``.
            white: The level of white where it is not the dtype's greatest, such as 4095 for 12 bits in uint16.

        Returns:
            A new frame of the same shape and dtype; alpha is the near frame's.

        Raises:
            InputError: A frame cannot be used; the text names it.
            BackendError: The engine failed.
        """
        return self.fuse_with_map(near, far, order=order, white=white)[0]

    def fuse_with_map(
        self, near: Frame, far: Frame, *, order: str = "bgr", white: float | None = None
    ) -> tuple[Frame, NDArray[np.float32] | None]:
        """As `fuse`, and which frame won: H x W float32 in [0, 1], the near frame's weight (None if the model has no map)."""
        kind = check_pair(near, far, order=order, white=white)
        if self.session.manifest.io == "uint8":
            if kind.dtype != np.uint8:
                raise InputError(f"{self.model.name} takes 8-bit frames, these are {kind.dtype}: use a float-io model.")
            result = self.session.run_with_map(to_bgr_bytes(near, kind), to_bgr_bytes(far, kind))
            return from_bgr_bytes(result.fused, kind, near), _plane(result.map)
        result = self.session.run_with_map(to_planes(near, kind), to_planes(far, kind))
        return from_planes(result.fused, kind, near), _plane(result.map)

    def close(self) -> None:
        """Free the engine; may be called twice."""
        with self._closing:
            self.session.close()

    def __enter__(self) -> Fuser:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _plane(weights: NDArray[Any] | None) -> NDArray[np.float32] | None:
    return None if weights is None else weights[0, 0]
