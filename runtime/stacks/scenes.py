"""Whether the frames of a stack show more than one scene: two subjects in one folder."""

from collections.abc import Mapping, Sequence
from statistics import median

import cv2
import numpy as np

from ufafuse.runtime.arrays import Floats
from ufafuse.runtime.frames import in_text
from ufafuse.runtime.registration.conflict import DISAGREE, disagreement

# Share of the picture that has to be in disagreement somewhere before anything is looked at.
WORTH_A_LOOK = 0.5
# Shares in which two frames disagree. Of 72 drawn stacks in one geometry (combs, pages, shadows, subjects in the wind), each
# frame had 0.12 at most with the nearest of the others; two photographs of different things had 0.74 to 1, most of them 0.6 to
# 0.9 far out of focus.
_ONE_SCENE, _ANOTHER = 0.35, 0.6
_MOST_SCENES = 4  # more of them are frames that lie anywhere
_FEWEST = 2  # frames of a scene: one alone may be an accident
_SMOOTH = 0.5  # sigma in pixels of the small pictures
_MOST_NAMED = 5


def scenes_among(pictures: Mapping[int, Floats]) -> list[list[int]]:
    """The frames that belong together; empty where all show one scene, or nothing else can be told.

    Args:
        pictures: Small pictures of frames, h x w, white = 1, by their numbers in the order of focus.

    Returns:
        The numbers of each scene's frames, in the order in which the scenes begin.
    """
    found: list[list[int]] = []
    between: list[float] = []
    soft = {index: np.asarray(cv2.GaussianBlur(pictures[index], (0, 0), _SMOOTH), np.float32) for index in sorted(pictures)}
    for index, picture in soft.items():
        # The last of a scene is the nearest in focus.
        apart = [float((disagreement(soft[scene[-1]], picture) > 1 - DISAGREE).mean()) for scene in found]
        nearest = int(np.argmin(apart)) if apart else -1
        if apart and apart[nearest] < _ONE_SCENE:
            found[nearest].append(index)
            between += apart[:nearest] + apart[nearest + 1 :]
        else:
            found.append([index])
            between += apart
        if len(found) > _MOST_SCENES:
            return []
    told = len(found) > 1 and min(map(len, found)) >= _FEWEST and median(between) > _ANOTHER
    return found if told else []


def scenes_words(scenes: Sequence[Sequence[str]], *, registered: bool) -> str:
    """What the user is told of them, by the names of their frames."""
    listed = "; ".join(_listed([in_text(name) for name in names]) for names in scenes)
    moved = "" if registered else " (if it is one, and the camera moved between them: `align=affine`)"
    return f"the frames seem to show {len(scenes)} scenes, which fuse into none: fuse each by itself{moved}: {listed}."


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    if more > 1:
        return f"{', '.join(names[: _MOST_NAMED - 1])} to {names[-1]} ({len(names)} frames)"
    return f"{', '.join(names[:-1])} and {names[-1]}"
