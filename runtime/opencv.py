"""OpenCV as it is found: its builds share the one folder ``cv2``, and any of them serves."""

from __future__ import annotations

import sys
import traceback
from importlib.util import find_spec
from typing import Any

from ufafuse.runtime.cores import quota_bound

BUILDS = ("opencv-python-headless", "opencv-contrib-python-headless", "opencv-python", "opencv-contrib-python")
ONE_BUILD = "run `pip uninstall -y {found}` and then `pip install opencv-python-headless`, which needs no desktop libraries."
AGAIN = "run `pip install --force-reinstall opencv-python-headless`."


def builds() -> dict[str, str]:
    """The builds of OpenCV that pip installed, with their versions; empty where OpenCV came otherwise (a system package)."""
    from importlib import metadata  # takes 10 ms, and is asked for where something is wrong

    return {name: found.version for name in BUILDS for found in metadata.distributions(name=name)}


def silence() -> None:
    """Keep OpenCV's own warnings off stderr."""
    set_log_level(0)


def set_log_level(level: int) -> int:
    """Set what OpenCV prints on stderr, 0 for nothing; returns what it was."""
    import cv2

    # OpenCV 4 has the function at its top, 5 in a module.
    set_level: Any = getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel
    return int(set_level(level))


def within_quota() -> None:
    """Give OpenCV no more threads than the CPU quota makes use of: it looks at the quota of the mount's root, not at ours."""
    bound = quota_bound()
    if bound is not None:
        import cv2

        cv2.setNumThreads(bound.threads)


def state() -> dict[str, Any]:
    """For `ufa info`: ``available``, ``version``, ``builds``, and ``why_not`` or ``warning`` where one is due."""
    found: dict[str, Any] = {"available": False, "version": None, "builds": builds()}
    try:
        import cv2

        found |= {"available": True, "version": cv2.__version__}
    except (ImportError, AttributeError) as error:
        return found | {"why_not": sentence(error)}
    if len(found["builds"]) > 1:
        names = " ".join(found["builds"])
        found["warning"] = f"{len(found['builds'])} builds share the folder cv2: {ONE_BUILD.format(found=names)}"
    return found


def sentence(error: BaseException) -> str | None:
    """What went wrong and its mend, where an error comes from loading OpenCV; None where it does not.

    Args:
        error: An ``ImportError`` (no OpenCV, a library that it needs is missing, or a NumPy that it was not built for), or the
            ``AttributeError`` of a folder ``cv2`` of which an uninstalled build left only the remains.
    """
    if not (_is_a_remnant(error) if isinstance(error, AttributeError) else _comes_from_opencv(error)):
        return None
    found = " ".join(builds())
    if not found:
        missing = find_spec("cv2") is None
        what = "OpenCV is not installed" if missing else f"OpenCV cannot be loaded: {_first_line(error)}"
        return f"{what}: run `pip install opencv-python-headless`."
    if isinstance(error, AttributeError):
        return f"OpenCV is half uninstalled: {ONE_BUILD.format(found=found)}"
    mend = AGAIN if found == BUILDS[0] else ONE_BUILD.format(found=found)
    return f"OpenCV cannot be loaded: {_first_line(error)}: {mend}"


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__


def _comes_from_opencv(error: BaseException) -> bool:
    """Whether ``import cv2`` failed, or failed inside: an extension's own import of NumPy names no module."""
    if not isinstance(error, ImportError):
        return False
    if error.name == "cv2" or (error.path or "").rpartition("/")[2].startswith("cv2"):
        return True
    names = (frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__))
    return any(name.split(".")[0] == "cv2" for name in names)


def _is_a_remnant(error: AttributeError) -> bool:
    """Whether ``cv2`` is a folder without a module: Python makes an empty package of it."""
    module = sys.modules.get("cv2")
    return module is not None and getattr(error, "obj", None) is module and getattr(module, "__file__", None) is None
