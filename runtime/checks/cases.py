"""The gate an artefact passes before it is trusted, on the machine that will run it; needs no PyTorch.

A *case* is a pair of frames and what PyTorch makes of it. Cases are packed at export time into one ``.npz`` file that
travels with the model (`save_reference`, `load_reference`); `verify_cases` runs a model on them and judges the
distances by the table of `ufafuse.runtime.checks.tolerances`.
"""

import json
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.artefact import Manifest, atomic_write, read_manifest, write_json
from ufafuse.runtime.callbacks import ignored
from ufafuse.runtime.checks.heatmap import heat_map
from ufafuse.runtime.checks.maps import compare_maps, mixed
from ufafuse.runtime.checks.tolerances import MOST_NOISE, Tolerance, compare, tolerance_for
from ufafuse.runtime.errors import CheckFailed, InputError, ModelError
from ufafuse.runtime.fixed import filled_up, fixed_batch, fixed_size
from ufafuse.runtime.frames import BGR_BYTES, check_pair
from ufafuse.runtime.images import write_image
from ufafuse.runtime.memory.tiled import layout_for
from ufafuse.runtime.packing import pack, unpack
from ufafuse.runtime.session import Session, SessionOptions, open_session

Run: TypeAlias = Callable[["Session", "Case"], tuple[NDArray[np.float32], NDArray[np.float32]]]
Weigh: TypeAlias = Callable[["Session", "Case"], NDArray[np.float32] | None]
Averages: TypeAlias = Callable[["Session", "Case"], dict[str, Any] | None]

_ABOUT = "about"
_NO_PACKAGE = (zipfile.BadZipFile, zlib.error, KeyError, ValueError, TypeError, EOFError, OSError, MemoryError, OverflowError,
               RuntimeError)  # fmt: skip  # also sizes, methods and passwords of zip files
_OF_WHAT = {
    "": "",
    "as_frames": " as bytes, as frames go in",
    "map": " between the frames mixed by its map and by PyTorch's",
    "averages": " in its averages",
}
_MOST_BYTES = 1 << 30  # of all arrays, unpacked


@dataclass(frozen=True)
class Case:
    """A pair and its reference.

    Args:
        name: The pair's name.
        near, far: H x W x 3 uint8, BGR.
        reference: H x W x 3 float32, BGR, in 8-bit levels: PyTorch's float32 result, not rounded.
        noise: How far that lies from PyTorch's float64 result at most, in levels; 0 where it was not looked at.
        weight: H x W float32: PyTorch's map, the near frame's weight; None: not known, and not looked at.
        weight_noise: As ``noise``, of what the two frames are when they are mixed by it.
    """

    name: str
    near: NDArray[np.uint8]
    far: NDArray[np.uint8]
    reference: NDArray[np.float32]
    noise: float = 0.0
    weight: NDArray[np.float32] | None = None
    weight_noise: float = 0.0


@dataclass(frozen=True)
class Findings:
    """What came out of a verification.

    Args:
        report: ``ok``; ``artefact``, ``reference``; ``backend`` and ``precision`` in use; ``pairs``: a row a case
            (``name``, ``size``, ``ok`` and what `compare` measures; of `compare_maps`, where the map is known, ``map``);
            ``worst``: the row of least PSNR; ``tolerance``.
        result, expected: The worst case's pictures, as `run_case` gives them; where only its map is wrong, what is mixed by it.
    """

    report: dict[str, Any]
    result: NDArray[np.float32]
    expected: NDArray[np.float32]

    @property
    def verdict(self) -> str:
        """One sentence on what fell short, naming the worst case."""
        rows = self.report["pairs"]
        return (
            f"{sum(not row['ok'] for row in rows)} of {len(rows)} pairs miss the tolerance on {self.report['backend']} "
            f"({in_words(self.report['tolerance'])}): worst is {self.report['worst']['name']} with {how_far(self.report)}."
        )

    def require(self) -> None:
        """Raises: CheckFailed with the `verdict` unless all cases met the tolerance."""
        if not self.report["ok"]:
            raise CheckFailed(self.verdict)

    def write(self, folder: Path) -> list[Path]:
        """Write the report and the worst case's `heat_map` into ``folder``; their paths. Raises: OutputError."""
        name = Path(self.report["artefact"]).name
        report, picture = folder / f"{name}.verify.json", folder / f"{name}.worst.png"
        write_json(report, self.report)
        write_image(picture, heat_map(self.result, self.expected), force=True)
        return [report, picture]


def how_far(report: dict[str, Any]) -> str:
    """How far the worst case of a report is from its reference, in that which falls short where one does."""
    worst = report["worst"]
    short = [name for name in ("as_frames", "map", "averages") if not worst.get(name, {"ok": True})["ok"]]
    what = short[0] if short and Tolerance(**report["tolerance"]).met_by(worst) else ""
    row = worst[what] if what else worst
    if not row["finite"]:
        return f"NaN or infinity{_OF_WHAT[what]}"
    if what == "averages":
        return f"averages that are {row['relative']:.1e} off"
    return f"{row['psnr']:.1f} dB, {row['max_abs']:.3g} levels at most{_OF_WHAT[what]}"


def save_reference(path: Path, cases: Iterable[Case], *, variant: str, weights_sha256: str, force: bool = False) -> None:
    """Pack cases, and whose weights' results they are, into ``path`` (whole or not at all). Raises: OutputError."""
    cases = list(cases)
    about = {
        "variant": variant,
        "weights_sha256": weights_sha256,
        "names": [case.name for case in cases],
        "noise": [case.noise for case in cases],
        "weight_noise": [min(case.weight_noise, MOST_NOISE) for case in cases],
    }
    arrays: dict[str, Any] = {_ABOUT: np.array(json.dumps(about))}
    for index, case in enumerate(cases):
        arrays |= {f"near{index}": case.near, f"far{index}": case.far, f"reference{index}": case.reference}
        arrays |= {} if case.weight is None else {f"weight{index}": case.weight}
    with atomic_write(path, force=force) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, **arrays)


def load_reference(path: Path) -> tuple[dict[str, Any], list[Case]]:
    """What `save_reference` packed: its facts (``variant``, ``weights_sha256``, ``names``) and the cases.

    Raises:
        InputError: There is no such file.
        ModelError: It is truncated, or no such package.
    """
    if not path.is_file():
        raise InputError(f"{path} is not a file: give the .npz that `ufa export --reference` wrote.")
    try:
        with zipfile.ZipFile(path) as members:
            if sum(member.file_size for member in members.infolist()) > _MOST_BYTES:
                raise ModelError(f"{path} holds more than {_MOST_BYTES >> 20} MiB: reference pairs are small, make it again.")
        with np.load(path, allow_pickle=False) as data:
            about = _about_in(json.loads(str(data[_ABOUT])))
            cases = [_checked_case(_case_in(data, about, index)) for index in range(len(about["names"]))]
    except _NO_PACKAGE as error:
        raise ModelError(f"{path} holds no reference pairs ({error}): make it again with `ufa export`.") from error
    return about, cases


def _about_in(about: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever JSON holds
    """The facts, of the types that they have (`ValueError`)."""
    texts = isinstance(about, dict) and all(isinstance(about.get(key), str) for key in ("variant", "weights_sha256"))
    if not texts or not all(isinstance(name, str) for name in about["names"]):
        raise ValueError("its facts are incomplete")
    for noises in (about["noise"], about.setdefault("weight_noise", [0.0] * len(about["names"]))):
        if len(noises) != len(about["names"]):
            raise ValueError("its facts are incomplete")
        if not all(isinstance(noise, int | float) and 0 <= noise <= MOST_NOISE for noise in noises):
            raise ValueError(f"a reference is uncertain by 0 to {MOST_NOISE} levels")
    return about


def _case_in(data: Any, about: dict[str, Any], index: int) -> Case:  # noqa: ANN401 - NumPy's of a package
    near, far, reference = (data[f"{what}{index}"] for what in ("near", "far", "reference"))
    weight = data.get(f"weight{index}")  # older packages have no maps
    return Case(about["names"][index], near, far, reference, about["noise"][index], weight, about["weight_noise"][index])


def _checked_case(case: Case) -> Case:
    """The case, whose pictures are ones (`ValueError`)."""
    frames = (case.near, case.far)
    if any(frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or not frame.size for frame in frames):
        raise ValueError(f"the frames of {case.name} are no 8-bit colour pictures")
    if not case.near.shape == case.far.shape == case.reference.shape:
        raise ValueError(f"the pictures of {case.name} have several sizes")
    if case.reference.dtype != np.float32 or not np.isfinite(case.reference).all():
        raise ValueError(f"the reference of {case.name} is not finite float32")
    weight = case.near[..., 0].astype(np.float32) if case.weight is None else case.weight
    if weight.shape != case.near.shape[:2] or weight.dtype != np.float32 or not np.isfinite(weight).all():
        raise ValueError(f"the map of {case.name} is not finite float32 of its size")
    return case


def verify_against_reference(
    artefact: Path, reference: Path, *, backend: str = "auto", options: SessionOptions | None = None
) -> Findings:
    """Check an artefact on this machine against packed results.

    Args:
        artefact: A ``.onnx`` or ``.engine`` file.
        reference: A file of `save_reference`, made from the same weights.
        backend: As `open_session`.
        options: As `open_session`.

    Raises:
        ModelError: The reference is of other weights, or a file is broken.
        InputError: No case has a size that the artefact serves, or it is one step of a model and fuses nothing.
        BackendError: The engine is missing or fails.
    """
    about, cases = load_reference(reference)
    manifest = read_manifest(artefact)
    if manifest.role != "whole":
        raise InputError(
            f"{artefact} is a step of a model ({manifest.role}), and packed results are of whole ones: hold it `against` its "
            "weights, where PyTorch is installed."
        )
    if about["weights_sha256"] != manifest.weights_sha256:
        raise ModelError(
            f"{reference} was packed from other weights ({about['weights_sha256'][:12]}) than {artefact.name} "
            f"({manifest.weights_sha256[:12]}): pack it again with `ufa export --reference`."
        )
    cases = [case for case in cases if serves(manifest, case.near.shape[:2])]
    if not cases:
        raise InputError(
            f"{artefact} serves {describe_profiles(manifest)}, and no packed pair has such a size: pack one with "
            "`ufa export --reference X.npz --reference-size HxW`."
        )
    with open_session(artefact, backend=backend, options=options) as session:
        return verify_cases(session, cases, artefact=artefact, reference=reference)


def serves(manifest: Manifest, size: tuple[int, ...]) -> bool:
    """Whether an artefact takes one pair of this (height, width): ONNX any or the one it was made for, an engine what its
    profiles hold.
    """
    profiles = manifest.extra.get("profiles")
    if fixed_size(manifest) not in (None, tuple(size)):
        return False
    return profiles is None or any(
        all(low <= side <= high for low, side, high in zip(profile["min"], size, profile["max"], strict=True))
        and profile["batch"][0] <= 1
        for profile in profiles
    )


def describe_profiles(manifest: Manifest) -> str:
    """The sizes an artefact serves, in words; "any size" for ONNX whose sizes are free."""
    profiles = manifest.extra.get("profiles")
    if not profiles:
        size = fixed_size(manifest)
        return "any size" if size is None else f"{size[0]}x{size[1]}"
    return " and ".join(
        "x".join(map(str, p["min"]))
        if p["min"] == p["max"]
        else f"{'x'.join(map(str, p['min']))} to {'x'.join(map(str, p['max']))}"
        for p in profiles
    )


def in_words(tolerance: dict[str, float | None]) -> str:
    """What a pair may differ by, from `Tolerance.to_dict`."""
    told = [f"{tolerance['max_abs']:g} levels at most"] if tolerance.get("max_abs") is not None else []
    told += [f"{tolerance['psnr']:g} dB at least"] if tolerance.get("psnr") is not None else []
    return ", ".join(told) or "none"


def verify_cases(
    session: Session,
    cases: Iterable[Case],
    *,
    artefact: Path,
    reference: Path,
    run: Run | None = None,
    weigh: Weigh | None = None,
    averages: Averages | None = None,
    only_frames: bool = False,
    done: Callable[[dict[str, Any]], None] = ignored,
) -> Findings:
    """Run a model on every case and judge each.

    Args:
        session: The loaded model.
        cases: At least one.
        artefact, reference: What is held against what, for the report.
        run: Gives (result, reference) of a case; None: `run_case`, which fuses the pair in the model's io; where the
            session takes frames in another way (`layout_for`, as `Fuser` does), in that way too: ``as_frames`` in the row.
        weigh: Gives the map of a case that has one to be held against; None: with a ``run`` none is looked at.
        averages: Judges what a case's frames average to, where that is what the graph gives: ``averages`` in the row.
        only_frames: Only as `Fuser` gives frames to the session.
        done: Called with each case's row, for progress.

    Raises:
        InputError: There is no case.
    """
    # Values rounded to the file's precision stay rounded, however finely the engine computes with them afterwards.
    stored, io = session.manifest.precision, session.manifest.io
    arithmetic = session.precision if stored == "fp32" else stored
    frames = layout_for(session, BGR_BYTES) if run is None else io
    judged = frames if only_frames else io
    tolerance = tolerance_for(arithmetic, "float" if judged == "float" else "uint8")
    rows: list[dict[str, Any]] = []
    worst: tuple[dict[str, Any], NDArray[np.float32], NDArray[np.float32]] | None = None
    weigh = weigh or (None if run is not None else _weighed)
    for case in cases:
        result, expected = run(session, case) if run is not None else run_case(session, case, judged)
        row = {"name": case.name, "size": list(case.near.shape[:2]), **compare(result, expected), "noise": case.noise}
        row["ok"] = tolerance.met_by(row)
        if frames != judged:
            row["as_frames"] = _as_frames(session, case, frames, arithmetic)
            row["ok"] = row["ok"] and row["as_frames"]["ok"]
        found = None if weigh is None or case.weight is None else weigh(session, case)
        if found is not None:
            row["map"] = _map_row(case, found, arithmetic)
            if row["ok"] and not row["map"]["ok"]:
                row["ok"], result, expected = False, *_mixes(case, found)
        told = None if averages is None else averages(session, case)
        if told is not None:
            row["averages"], row["ok"] = told, row["ok"] and told["ok"]
        rows.append(row)
        if worst is None or (row["ok"], row["psnr"]) < (worst[0]["ok"], worst[0]["psnr"]):
            worst = (row, result, expected)
        done(row)
    if worst is None:
        raise InputError("there is no pair to verify with: give a folder that holds some.")
    report = {
        "ok": all(row["ok"] for row in rows),
        "artefact": str(artefact),
        "reference": str(reference),
        "backend": session.backend,
        "precision": session.precision,
        "pairs": rows,
        "worst": worst[0],
        "tolerance": tolerance.to_dict(),
    }
    return Findings(report, worst[1], worst[2])


def _as_frames(session: Session, case: Case, layout: str, arithmetic: str) -> dict[str, Any]:
    """How a case comes out where its frames go in as `Fuser` gives them, as bytes; ``ok`` by the table for these."""
    found = compare(*run_case(session, case, layout))
    kept = {key: found[key] for key in ("max_abs", "psnr", "finite")}
    return {"layout": layout, **kept, "ok": tolerance_for(arithmetic, "uint8").met_by(found)}


def _map_row(case: Case, found: NDArray[np.float32], arithmetic: str) -> dict[str, Any]:
    assert case.weight is not None
    frames = case.near, case.far
    return compare_maps(found, case.weight, frames, arithmetic=arithmetic, noise=case.weight_noise)


def _mixes(case: Case, found: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What is to be shown of a map that is wrong, and how it should be."""
    assert case.weight is not None
    fits = found.shape == case.weight.shape
    weights = (found if fits else np.full_like(case.weight, np.nan)), case.weight
    result, expected = (mixed(case.near, case.far, weight).astype(np.float32) for weight in weights)
    return result, expected


def _weighed(session: Session, case: Case) -> NDArray[np.float32] | None:
    """The near frame's weight, H x W, as a model for pairs gives it in its own io; None where it gives none."""
    kind, io = check_pair(case.near, case.far), session.manifest.io
    pair = {"near": pack(case.near, kind, io), "far": pack(case.far, kind, io)}
    found = session.run_with_map(**filled_up(pair, fixed_batch(session.manifest))).map
    return None if found is None else np.asarray(found[-1, 0] if found.ndim == 4 else found)


def run_case(session: Session, case: Case, layout: str | None = None) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(result, reference) of one case: H x W x 3 float32, BGR, 8-bit levels, both rounded where the model rounds.

    Args:
        session: The loaded model.
        case: The pair and its reference.
        layout: How the frames go in, see `ufafuse.runtime.packing.pack`; None: in the model's io.
    """
    kind = check_pair(case.near, case.far)
    layout = layout or session.manifest.io
    pair = {"near": pack(case.near, kind, layout), "far": pack(case.far, kind, layout)}
    fused = session.run(**filled_up(pair, fixed_batch(session.manifest)))[-1:]
    if layout == "float":
        return bgr_levels(fused), case.reference
    picture = unpack(fused, kind, case.near, layout)
    return picture.astype(np.float32), rounded(case.reference, uint8=True)


def bgr_levels(fused: NDArray[np.float32]) -> NDArray[np.float32]:
    """1 x 3 x H x W, RGB, [0, 1] to H x W x 3, BGR, in 8-bit levels."""
    return np.ascontiguousarray(fused[0, ::-1].transpose(1, 2, 0)) * np.float32(255)


def rounded(levels: NDArray[np.float32], *, uint8: bool) -> NDArray[np.float32]:
    """A reference as a graph with uint8 output gives it; unchanged for float output."""
    return np.rint(np.clip(levels, 0, 255)) if uint8 else levels
