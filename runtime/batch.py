"""Several pairs of one size in one run of the engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ufafuse.runtime.arrays import Array
from ufafuse.runtime.frames import check_frames
from ufafuse.runtime.fuser import Fuser
from ufafuse.runtime.fusion import Fusion
from ufafuse.runtime.levels import Levels, kind_with_levels
from ufafuse.runtime.memory.tiled import layout_for
from ufafuse.runtime.packing import pack, unpack
from ufafuse.runtime.session import Fused, check_fused

if TYPE_CHECKING:
    from numpy.typing import NDArray

# With ufa-edge at 256 x 256 on one thread, four pairs in one run took 1.13 times as long as four runs on OpenVINO (bf16), 1.25
# times on ONNX Runtime (fp32): what lies between the layers no longer fits into the caches. So on a CPU pairs are fused one by
# one; on a GPU, which a single small frame does not fill, an engine built for several pairs is for this.


def most_pairs(fuser: Fuser) -> int:
    """How many pairs a run is worth: one on a CPU; on a GPU as many as each of the engine's profiles takes."""
    if not fuser.session.on_device:
        return 1
    profiles = fuser.session.manifest.extra.get("profiles", [])
    return min((max(profile.get("batch", [1])) for profile in profiles), default=1)


def fuse_batch(
    fuser: Fuser,
    pairs: Sequence[tuple[Array, Array]],
    *,
    order: str = "bgr",
    white: float | None = None,
    levels: Sequence[Levels] | None = None,
    want_map: bool = False,
) -> list[Fusion]:
    """Fuse pairs in one run; the results are those of `Fuser.fuse_pair`, called for each.

    Pairs that cannot share a run (of unlike kind or levels, or too large for the memory together) are fused one by one.

    Args:
        fuser: With a loaded model.
        pairs: Near and far, as `Fuser.fuse` takes them; all of one shape.
        order, white, want_map: As `Fuser.fuse_pair`.
        levels: Those of each pair, where they are known; instead of ``white``.

    Raises:
        As `Fuser.fuse_pair`.
    """
    maps = fuser.session.manifest.io == "float"
    if levels is None:
        found = [kind_with_levels(pair, order=order, white=white, maps=maps) for pair in pairs]
    else:
        known = zip(pairs, levels, strict=True)
        found = [(each.of(check_frames(pair, order=order, open_ended=True)), each) for pair, each in known]
    found = [(fuser.shown(*pair, kind), each) for pair, (kind, each) in zip(pairs, found, strict=True)]
    alike = len(pairs) > 1 and len({kind for kind, _ in found}) == 1 and len({near.shape for near, _ in pairs}) == 1
    if not alike or found[0][0].beyond or not fuser.surely_whole(_size(pairs[0][0]), frames=len(pairs)):
        each = zip(pairs, found, strict=True)
        return [fuser.fuse_pair(*pair, order=order, levels=known, want_map=want_map) for pair, (_, known) in each]
    kind, layout = found[0][0], layout_for(fuser.session, found[0][0])
    near, far = (np.concatenate([pack(pair[side], kind, layout) for pair in pairs]) for side in (0, 1))
    session = fuser.session
    result = session.run_with_map(near, far) if want_map else Fused(session.run(near, far), None)
    check_fused(result.fused, near)
    made = []
    for index, ((first, second), (_, seen)) in enumerate(zip(pairs, found, strict=True)):
        fused = unpack(result.fused[index : index + 1], kind, first, layout)
        fuser.check(fused, first, second, kind)
        weights: NDArray[Any] | None = None if result.map is None else result.map[index, 0]
        made.append(Fusion(fused, weights, None, seen))
    return made


def _size(frame: Array) -> tuple[int, int]:
    return frame.shape[0], frame.shape[1]
