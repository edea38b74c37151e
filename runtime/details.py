"""What was decided about a result, as entries of a report."""

from collections.abc import Sequence
from typing import Any

from ufafuse.runtime.pictures.source import FrameSource
from ufafuse.runtime.stacks.options import Stacked, StackOptions


def _taken(frames: Sequence[FrameSource], result: Stacked) -> dict[str, Any]:
    """In which order frames were taken, which were not or not everywhere, and which were registered to no neighbour."""
    details: dict[str, Any] = {}
    if result.order:
        details["order"] = result.reordered
        details["order_of_focus"] = [frames[index].name for index in result.order]
    if result.left_out:
        details["left_out"] = {frames[index].name: why for index, why in result.left_out.items()}
    if result.strayed:
        details["strayed"] = {frames[index].name: round(share, 4) for index, share in result.strayed.items()}
    if result.beside:
        details["registered_to"] = {frames[index].name: frames[partner].name for index, partner in result.beside.items()}
    return details


def _bent(frames: Sequence[FrameSource], result: Stacked) -> dict[str, Any]:
    if not result.curves:
        return {}
    rounded = {
        frames[index].name: [[[round(float(level), 4) for level in side] for side in curve] for curve in curves]
        for index, curves in result.curves.items()
    }
    return {"curves": rounded}


def _smoothed(result: Stacked) -> dict[str, float]:
    """How readily frames were averaged, and for which noise, where that is more than was learnt."""
    noise = {"noise": round(result.noise, 1)} if result.noise else {}
    return {"smoothing": result.smoothing, **noise} if result.smoothing != 1 else {}


def details_of(frames: Sequence[FrameSource], result: Stacked, options: StackOptions) -> dict[str, Any]:
    """What was decided about a result, as entries of the report."""
    details: dict[str, Any] = {}
    if len(frames) > 2:
        details["more"] = [frame.name for frame in frames[2:]]
    details["method"] = options.method
    details |= _smoothed(result)
    if result.restored[0] > 0:
        share, most = result.restored
        details["restored"] = [round(share, 4), round(most, 3)]
    if options.align != "off":
        moves = zip((number for number in result.taken if number != result.reference), result.alignments, strict=True)
        details["alignment"] = [{"frame": frames[number].name, **move.to_json()} for number, move in moves]
        details["crop"] = list(result.crop)
        details["reference"] = frames[result.reference].name
    details |= _taken(frames, result)
    details["disagreement"] = round(result.disagreement, 4)
    details |= _mended(result)
    if options.match_gain:
        details["gain"] = [[round(factor, 4) for factor in factors] for factors in result.gains]
    if result.matched:
        details["matched"] = {frames[index].name: [round(f, 4) for f in factors] for index, factors in result.matched.items()}
    details |= _bent(frames, result)
    if result.levels is not None:
        details |= result.levels.to_json()
    if result.grid is not None:
        details["tiles"] = {"count": len(result.grid), "window": list(result.grid.window), "work": round(result.grid.work, 3)}
    return details


def _mended(result: Stacked) -> dict[str, Any]:
    """What of the faults of lamp and sensor was mended."""
    counts = {"hot_pixels": result.hot_pixels, "dust": result.dust}
    bands = {} if result.banding is None else {"banding": result.banding.to_json()}
    return bands | {name: count for name, count in counts.items() if count}
