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

import cv2
import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.artefact import Manifest, atomic_write, read_manifest, write_json
from ufafuse.runtime.callbacks import ignored
from ufafuse.runtime.checks.tolerances import MOST_NOISE, compare, tolerance_for
from ufafuse.runtime.errors import CheckFailed, InputError, ModelError
from ufafuse.runtime.fixed import filled_up, fixed_batch, fixed_size
from ufafuse.runtime.frames import BGR_BYTES, check_pair, pack, unpack
from ufafuse.runtime.images import write_image
from ufafuse.runtime.memory.tiled import layout_for
from ufafuse.runtime.session import Session, SessionOptions, open_session

Run: TypeAlias = Callable[["Session", "Case"], tuple[NDArray[np.float32], NDArray[np.float32]]]

_ABOUT = "about"
_NO_PACKAGE = (zipfile.BadZipFile, zlib.error, KeyError, ValueError, TypeError, EOFError, OSError, MemoryError, OverflowError,
               RuntimeError)  # fmt: skip  # also sizes, methods and passwords of zip files
_MOST_BYTES = 1 << 30  # of all arrays, unpacked
_BAR = 28  # pixels: height of the captions in a heat map


@dataclass(frozen=True)
class Case:
    """A pair and its reference.

    Args:
        name: The pair's name.
        near, far: H x W x 3 uint8, BGR.
        reference: H x W x 3 float32, BGR, in 8-bit levels: PyTorch's float32 result, not rounded.
        noise: How far that lies from PyTorch's float64 result at most, in levels; 0 where it was not looked at.
    """

    name: str
    near: NDArray[np.uint8]
    far: NDArray[np.uint8]
    reference: NDArray[np.float32]
    noise: float = 0.0


@dataclass(frozen=True)
class Findings:
    """What came out of a verification.

    Args:
        report: ``ok``; ``artefact``, ``reference``; ``backend`` and ``precision`` in use; ``pairs``: a row a case
            (``name``, ``size``, ``ok`` and what `compare` measures); ``worst``: the row of least PSNR; ``tolerance``.
        result, expected: The worst case's pictures, as `run_case` gives them.
    """

    report: dict[str, Any]
    result: NDArray[np.float32]
    expected: NDArray[np.float32]

    @property
    def verdict(self) -> str:
        """One sentence on what fell short, naming the worst case."""
        rows, worst = self.report["pairs"], self.report["worst"]
        far = f"{worst['psnr']:.1f} dB, {worst['max_abs']:.3g} levels at most" if worst["finite"] else "NaN or infinity"
        if worst["ok"] and "as_frames" in worst:  # what falls short is how frames go in: as bytes
            far = f"{worst['as_frames']['max_abs']:.3g} levels as bytes, as frames go in"
        return (
            f"{sum(not row['ok'] for row in rows)} of {len(rows)} pairs miss the tolerance on {self.report['backend']} "
            f"({in_words(self.report['tolerance'])}): worst is {worst['name']} with {far}."
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


def save_reference(path: Path, cases: Iterable[Case], *, variant: str, weights_sha256: str, force: bool = False) -> None:
    """Pack cases, and whose weights' results they are, into ``path`` (whole or not at all). Raises: OutputError."""
    cases = list(cases)
    about = {
        "variant": variant,
        "weights_sha256": weights_sha256,
        "names": [case.name for case in cases],
        "noise": [case.noise for case in cases],
    }
    arrays: dict[str, Any] = {_ABOUT: np.array(json.dumps(about))}
    for index, case in enumerate(cases):
        arrays |= {f"near{index}": case.near, f"far{index}": case.far, f"reference{index}": case.reference}
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
            cases = [
                _checked_case(Case(name, data[f"near{index}"], data[f"far{index}"], data[f"reference{index}"], noise))
                for index, (name, noise) in enumerate(zip(about["names"], about["noise"], strict=True))
            ]
    except _NO_PACKAGE as error:
        raise ModelError(f"{path} holds no reference pairs ({error}): make it again with `ufa export`.") from error
    return about, cases


def _about_in(about: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever JSON holds
    """The facts, of the types that they have (`ValueError`)."""
    texts = isinstance(about, dict) and all(isinstance(about.get(key), str) for key in ("variant", "weights_sha256"))
    if not texts or not all(isinstance(name, str) for name in about["names"]):
        raise ValueError("its facts are incomplete")
    if not all(isinstance(noise, int | float) and 0 <= noise <= MOST_NOISE for noise in about["noise"]):
        raise ValueError(f"a reference is uncertain by 0 to {MOST_NOISE} levels")
    return about


def _checked_case(case: Case) -> Case:
    """The case, whose pictures are ones (`ValueError`)."""
    frames = (case.near, case.far)
    if any(frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or not frame.size for frame in frames):
        raise ValueError(f"the frames of {case.name} are no 8-bit colour pictures")
    if not case.near.shape == case.far.shape == case.reference.shape:
        raise ValueError(f"the pictures of {case.name} have several sizes")
    if case.reference.dtype != np.float32 or not np.isfinite(case.reference).all():
        raise ValueError(f"the reference of {case.name} is not finite float32")
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
        InputError: No case has a size that the artefact serves.
        BackendError: The engine is missing or fails.
    """
    about, cases = load_reference(reference)
    manifest = read_manifest(artefact)
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
    for case in cases:
        result, expected = run(session, case) if run is not None else run_case(session, case, judged)
        row = {"name": case.name, "size": list(case.near.shape[:2]), **compare(result, expected), "noise": case.noise}
        row["ok"] = tolerance.met_by(row)
        if frames != judged:
            row["as_frames"] = _as_frames(session, case, frames, arithmetic)
            row["ok"] = row["ok"] and row["as_frames"]["ok"]
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


def run_case(session: Session, case: Case, layout: str | None = None) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(result, reference) of one case: H x W x 3 float32, BGR, 8-bit levels, both rounded where the model rounds.

    Args:
        session: The loaded model.
        case: The pair and its reference.
        layout: How the frames go in, see `ufafuse.runtime.frames.pack`; None: in the model's io.
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


def heat_map(result: NDArray[np.float32], reference: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A picture of where a result differs: reference, result, and the greatest difference of the three channels.

    Args:
        result, reference: H x W x 3, BGR, 8-bit levels.

    Returns:
        (H + caption) x 3 W x 3 uint8. The difference is scaled so that its largest value is full colour; the caption
        says how many levels that is.
    """
    reference = np.nan_to_num(reference)
    difference = np.abs(np.nan_to_num(result, nan=255.0, posinf=255.0, neginf=255.0) - reference).max(axis=2)
    top = float(difference.max())
    scaled = (difference * (255 / top) if top > 0 else difference).astype(np.uint8)
    panels = (
        ("reference", np.clip(np.rint(reference), 0, 255).astype(np.uint8)),
        ("result", np.clip(np.rint(np.nan_to_num(result)), 0, 255).astype(np.uint8)),
        (f"full colour: {top:.3g} levels", cv2.applyColorMap(scaled, cv2.COLORMAP_INFERNO)),
    )
    return np.hstack([np.vstack([_caption(text, panel.shape[1]), panel]) for text, panel in panels])


def _caption(text: str, width: int) -> NDArray[np.uint8]:
    bar = np.zeros((_BAR, width, 3), np.uint8)
    cv2.putText(bar, text, (4, _BAR - 9), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
    return bar
