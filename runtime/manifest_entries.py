"""Types and ranges of a manifest's entries, checked once, where a manifest is read: model files are input."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ufafuse.runtime.kinds import KINDS

KIND_NAMES = tuple(kind.name for kind in KINDS)
ARITHMETIC = ("fp32", "bf16", "fp16", "int8")
IO = ("float", "uint8")
TILE_ROLES = ("means", "tile")  # those that a frame goes through in tiles
STACK_ROLES = ("encode", "common", "score")  # the graphs that a stack of any number of frames goes through
ROLES = ("whole", *TILE_ROLES, *STACK_ROLES)
_LONGEST_TEXT = 4096
_FARTHEST, _COARSEST, _WIDEST, _LARGEST_SIDE = 4096, 1024, 1 << 16, 1 << 20
_MOST = 64  # scales, profiles, GPUs

Check = Callable[[object], bool]


def fault_in(values: Mapping[str, Any]) -> str:
    """What is wrong with the entries of a manifest (without its schema), in words; empty when they can be used.

    Entries of ``extra`` that are not known here are left to who knows them.
    """
    if unknown := sorted(set(values) - set(_ENTRIES)):
        return f"{unknown[0]!r} is no entry of a manifest"
    for name in ("kind", "variant", "precision"):
        if name not in values:
            return f"{name} is missing"
    return _fault(values, _ENTRIES) or _fault(values.get("extra", {}), _EXTRA, "extra ")


def _fault(values: Mapping[str, Any], checks: Mapping[str, tuple[Check, str]], where: str = "") -> str:
    for name, (check, wanted) in checks.items():
        if name in values and not check(values[name]):
            found = repr(values[name])
            return f"{where}{name} is {found if len(found) < 60 else found[:57] + '...'}, not {wanted}"
    return ""


def _text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST_TEXT and value.isprintable()


def _one_of(*known: str) -> tuple[Check, str]:
    return lambda value: isinstance(value, str) and value in known, f"one of {', '.join(known)}"


def _arithmetic(value: object) -> bool:
    return isinstance(value, str) and all(part in ARITHMETIC for part in value.split("+"))


def _whole(low: int, high: int) -> tuple[Check, str]:
    return lambda value: type(value) is int and low <= value <= high, f"a whole number from {low} to {high}"


def _wholes(low: int, high: int, *, exactly: int | None = None) -> Check:
    one, _ = _whole(low, high)

    def check(value: object) -> bool:
        if not isinstance(value, list) or not 1 <= len(value) <= _MOST:
            return False
        return exactly in (None, len(value)) and all(map(one, value))

    return check


def _boolean(value: object) -> bool:
    return isinstance(value, bool)


def _mapping(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(key, str) for key in value)


def _texts_by_name(value: object) -> bool:
    return isinstance(value, dict) and all(map(_text, value)) and all(map(_text, value.values()))


def _texts(value: object) -> bool:
    return isinstance(value, list) and len(value) <= _MOST and all(map(_text, value))


def _profiles(value: object) -> bool:
    size, batch = _wholes(1, _LARGEST_SIDE, exactly=2), _wholes(1, _WIDEST)
    return (
        isinstance(value, list)
        and len(value) <= _MOST
        and all(
            isinstance(profile, dict)
            and all(size(profile.get(key)) for key in ("min", "opt", "max"))
            and ("batch" not in profile or batch(profile["batch"]))
            for profile in value
        )
    )


_A_TEXT = (_text, "a text")
_SEVERAL = f"1 to {_MOST} whole numbers above 0"
_ENTRIES: dict[str, tuple[Check, str]] = {
    "kind": _one_of(*KIND_NAMES),
    "variant": _A_TEXT,
    "precision": (_arithmetic, f"of {', '.join(ARITHMETIC)}"),
    "io": _one_of(*IO),
    "spec": (_mapping, "a network's description"),
    "weights_sha256": _A_TEXT,
    "tools": (_texts_by_name, "versions by name"),
    "created": _A_TEXT,
    "extra": (_mapping, "entries by name"),
}
_EXTRA: dict[str, tuple[Check, str]] = {
    "role": _one_of(*ROLES),
    "halo": _whole(0, _FARTHEST),
    "stride": _whole(1, _COARSEST),
    "strides": (_wholes(1, _COARSEST), _SEVERAL),
    "widths": (_wholes(1, _WIDEST), _SEVERAL),
    "gathers": (_boolean, "true or false"),
    "encode_halo": _whole(0, _FARTHEST),
    "score_halo": _whole(0, _FARTHEST),
    "octaves": (_wholes(1, _COARSEST), _SEVERAL),
    "global_means": (_boolean, "true or false"),
    "profiles": (_profiles, "sizes min, opt and max"),
    "static": (_wholes(1, _LARGEST_SIDE, exactly=2), "a height and a width"),
    "batch": _whole(1, _WIDEST),
    "flavor": _A_TEXT,
    "version": _A_TEXT,
    "compute_capability": (_texts, "a list of GPUs"),
    "hardware": _A_TEXT,
    "version_compatible": (_boolean, "true or false"),
    "plan_sha256": _A_TEXT,
    "graph_sha256": _A_TEXT,
    "tensors_sha256": _A_TEXT,
    "files_sha256": (_texts, "a list of hashes"),
    "inputs": (_texts, "a list of names"),
    "outputs": (_texts, "a list of names"),
    "onnx": _A_TEXT,
    "source_sha256": _A_TEXT,
}
