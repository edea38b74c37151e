"""Holding the companions for tiles against PyTorch: the graph does its step, PyTorch all the rest.

So each is judged by the picture that comes of it, in levels and decibels, by the table that whole graphs are judged by.
The averages are summed in two parts, each with a mask of its own, as tiles of a frame have it.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ufafuse.network.base import Network
from ufafuse.network.model import FusionNet
from ufafuse.runtime.arrays import Bytes
from ufafuse.runtime.checks.cases import Case, bgr_levels, rounded
from ufafuse.runtime.errors import ModelError
from ufafuse.runtime.fixed import filled_up, fixed_batch
from ufafuse.runtime.frames import check_pair
from ufafuse.runtime.packing import pack, to_planes
from ufafuse.runtime.session import Session

# Averages are of features of order one; half precision keeps three digits of each. Where a network hardly looks at them no
# picture tells. Of other arithmetic only the picture decides.
_AVERAGES_TOLERANCE = {"fp32": 1e-5, "fp16": 5e-3}


class TileRun:
    """Runs one step in a session and the others in PyTorch; called as `run_case` is.

    Args:
        net: The network that the session's graph was made from.

    Raises:
        ModelError: It has no such graphs.
    """

    def __init__(self, net: Network) -> None:
        if not isinstance(net, FusionNet):
            raise ModelError(f"{net.spec.name} has no graphs for tiles.")
        self.net = net
        self._last: list[tuple[Session, Any, Any]] = []

    def __call__(self, session: Session, case: Case) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(result, reference): H x W x 3 float32, BGR, 8-bit levels, both rounded where the graph rounds."""
        if session.manifest.role == "tile":
            fused = self._tile(session, case)["fused"][-1:]
            uint8 = session.manifest.io == "uint8"
            return fused[0].astype(np.float32) if uint8 else bgr_levels(fused), rounded(case.reference, uint8=uint8)
        with torch.inference_mode():
            planes = self._planes(case)
            near, far = (torch.from_numpy(self._summed(session, frame)) for frame in (case.near, case.far))
            fused = self.net.fuse(*planes, self.net.encode(torch.cat(planes)), (near, far))[0].numpy()
        return bgr_levels(fused), case.reference

    def weight(self, session: Session, case: Case) -> NDArray[np.float32] | None:
        """The near frame's weight, H x W, that the graph gives; None of one that gives none."""
        found = self._tile(session, case).get("map") if session.manifest.role == "tile" else None
        return None if found is None else np.asarray(found[-1, 0])

    def averages(self, session: Session, case: Case) -> dict[str, Any] | None:
        """How far the averages of both frames lie from PyTorch's: ``relative``, ``finite``, ``ok``; None for the tile graph."""
        if session.manifest.role == "tile":
            return None
        rows = [self.averages_of(session, frame) for frame in (case.near, case.far)]
        return max(rows, key=lambda row: (not row["ok"], row["relative"]))

    def averages_of(self, session: Session, frame: Bytes) -> dict[str, Any]:
        """As `averages`, of one frame."""
        with torch.inference_mode():
            planes = torch.from_numpy(to_planes(frame, check_pair(frame, frame)))
            reference = self.net.means(self.net.encode(planes)).numpy()
        found = self._summed(session, frame)
        finite = bool(np.isfinite(found).all())
        relative = float((np.abs(found - reference) / np.maximum(1, np.abs(reference))).max()) if finite else 1.0
        stored = session.manifest.precision
        limit = averages_limit(session.precision if stored == "fp32" else stored)
        return {"relative": relative, "finite": finite, "ok": finite and (limit is None or relative <= limit)}

    def _once(self, session: Session, given: Any, run: Callable[[Session, Any], Any]) -> Any:  # noqa: ANN401 - of `run`
        """What ``run`` gives for a case or a frame in a session: run once, though picture, map and averages are looked at."""
        for of, seen, result in self._last:
            if of is session and seen is given:
                return result
        result = run(session, given)
        self._last = [*self._last[-1:], (session, given, result)]  # both frames of a case
        return result

    def _tile(self, session: Session, case: Case) -> dict[str, NDArray[Any]]:
        """One tile, which is the whole pair, with PyTorch's averages."""
        found: dict[str, NDArray[Any]] = self._once(session, case, self._run_tile)
        return found

    def _run_tile(self, session: Session, case: Case) -> dict[str, NDArray[Any]]:
        kind, inputs = check_pair(case.near, case.far), {}
        for name, frame, planes in zip(("near", "far"), (case.near, case.far), self._planes(case), strict=True):
            inputs[name] = pack(frame, kind, session.manifest.io)
            with torch.inference_mode():
                inputs[f"means_{name}"] = self.net.means(self.net.encode(planes)).numpy()
        return session.infer(filled_up(inputs, fixed_batch(session.manifest)))

    def _summed(self, session: Session, frame: Bytes) -> NDArray[np.float32]:
        """The averages of a frame, 1 x C, from the sums of its left and its right part."""
        found: NDArray[np.float32] = self._once(session, frame, self._run_sums)
        return found

    def _run_sums(self, session: Session, frame: Bytes) -> NDArray[np.float32]:
        spec, (height, width) = self.net.spec, frame.shape[:2]
        packed, sums = pack(frame, check_pair(frame, frame), session.manifest.io), np.zeros(sum(spec.widths))
        for part in _parts(width, spec.stride):
            mask = np.zeros((1, 1, height, width), np.float32)
            mask[..., part] = 1
            given = filled_up({"frame": packed, "mask": mask}, fixed_batch(session.manifest))
            sums += session.infer(given)["sums"][-1]
        cells = [spec.fold * 2**scale for scale in range(len(spec.widths))]
        rows, columns = (-(-side // spec.stride) * spec.stride for side in (height, width))
        counts = np.repeat([(rows // cell) * (columns // cell) for cell in cells], spec.widths)
        return (sums / counts).astype(np.float32)[np.newaxis]

    def _planes(self, case: Case) -> tuple[Tensor, Tensor]:
        kind = check_pair(case.near, case.far)
        near, far = (torch.from_numpy(to_planes(frame, kind)) for frame in (case.near, case.far))
        return near, far


def averages_limit(arithmetic: str) -> float | None:
    """How far averages may lie from PyTorch's, relative to the larger of them and one; None: the picture decides."""
    return _AVERAGES_TOLERANCE.get(arithmetic)


def _parts(width: int, stride: int) -> Sequence[slice]:
    """The columns of two tiles, which meet at a multiple of the stride; of one where there is no such place."""
    middle = width // 2 // stride * stride
    return (slice(0, middle), slice(middle, width)) if middle else (slice(0, width),)
