"""How far a result may lie from PyTorch's, in one table, and how the distance is measured. NumPy and OpenCV only."""

from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np

from ufafuse.runtime.arrays import Array
from ufafuse.runtime.errors import InputError

# Two float32 results, each that far from the exact one, and not at the same pixel: of all pixels at which two frames are as
# good as each other, the one that rounding moves farthest is another one in each.
NOISE_FACTOR = 8.0
MOST_NOISE = 0.5  # levels: a reference that says more of itself is none
IDENTICAL_DB = 200.0  # stands for the infinite PSNR of equal images, which JSON has no number for
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
_WINDOW, _SIGMA = (11, 11), 1.5


@dataclass(frozen=True)
class Tolerance:
    """What a result must meet; ``None`` means that this measure does not decide.

    Args:
        max_abs: Greatest difference of any sample, in 8-bit levels (1 level = 1/255). A network that ends in the difference
            of large terms is not computed that finely by PyTorch itself: where a row has ``noise`` (how far PyTorch's
            float32 lies from its float64, in levels), `NOISE_FACTOR` times that is allowed if it is more.
        psnr: Least PSNR in dB, peak 255.
    """

    max_abs: float | None = None
    psnr: float | None = None

    def met_by(self, row: dict[str, Any]) -> bool:
        """Whether the measures of `compare` meet it; a result that is not finite never does."""
        noise = min(row.get("noise", 0.0), MOST_NOISE)
        return bool(
            row["finite"]
            and (self.max_abs is None or row["max_abs"] <= max(self.max_abs, NOISE_FACTOR * noise))
            and (self.psnr is None or row["psnr"] >= self.psnr)
        )

    def to_dict(self) -> dict[str, float | None]:
        """For reports."""
        return asdict(self)


# fp32: 1e-5 of the range [0, 1]: rounding of another order of summation, nothing else.
# fp16, bf16: 50 dB is an RMS error of 0.8 of an 8-bit level. int8: 45 dB is 1.4 levels, below a camera's own noise.
# uint8 io: both results are rounded, so equal arithmetic can differ by the one level where rounding tips over.
_FLOAT_IO = {
    "fp32": Tolerance(max_abs=1e-5 * 255),
    "fp16": Tolerance(psnr=50.0),
    "bf16": Tolerance(psnr=50.0),
    "int8": Tolerance(psnr=45.0),
}
_UINT8_IO = {**_FLOAT_IO, "fp32": Tolerance(max_abs=1.0)}


def tolerance_for(precision: str, io: str) -> Tolerance:
    """The row of the table for an arithmetic and an io layout.

    Args:
        precision: As a manifest or a session names it; of ``"int8+bf16"`` the coarser part (int8) counts.
        io: ``"float"`` or ``"uint8"``.

    Raises:
        InputError: There is no such row.
    """
    table = {"float": _FLOAT_IO, "uint8": _UINT8_IO}.get(io, {})
    coarsest = precision.split("+", maxsplit=1)[0]
    if coarsest not in table:
        raise InputError(
            f"no tolerance is set for precision {precision!r} with {io!r} io: known are {', '.join(_FLOAT_IO)} with "
            "float or uint8 io."
        )
    return table[coarsest]


def compare(result: Array, reference: Array) -> dict[str, Any]:
    """How far ``result`` lies from ``reference``.

    Args:
        result: H x W x 3 float, in 8-bit levels ([0, 255], not rounded unless the model rounds).
        reference: Likewise.

    Returns:
        ``max_abs`` and ``mean_abs`` in 8-bit levels, ``psnr`` in dB, ``ssim`` (Wang et al. 2004: 11 x 11 Gaussian,
        sigma 1.5, mean over the channels), ``finite``. Where either picture is not finite only ``finite`` is meant: the
        distances are the worst there are.
    """
    if not (np.isfinite(result).all() and np.isfinite(reference).all()):
        return {"max_abs": 255.0, "mean_abs": 255.0, "psnr": 0.0, "ssim": 0.0, "finite": False}
    difference = np.abs(result.astype(np.float64) - reference.astype(np.float64))
    return {
        "max_abs": float(difference.max()),
        "mean_abs": float(difference.mean()),
        "psnr": psnr(float((difference**2).mean())),
        "ssim": ssim(result, reference),
        "finite": True,
    }


def psnr(mean_square: float) -> float:
    """PSNR in dB of a mean square error in 8-bit levels; `IDENTICAL_DB` at most, and 0 of an error that is no number."""
    if not np.isfinite(mean_square):
        return 0.0
    return min(IDENTICAL_DB, 10 * float(np.log10(255**2 / mean_square))) if mean_square > 0 else IDENTICAL_DB


def ssim(result: Array, reference: Array) -> float:
    """Mean structural similarity of two H x W x 3 images in 8-bit levels (Wang et al. 2004)."""
    x, y = result.astype(np.float64), reference.astype(np.float64)

    def blur(image: Array) -> Array:
        return cv2.GaussianBlur(image, _WINDOW, _SIGMA, borderType=cv2.BORDER_REPLICATE)

    mean_x, mean_y = blur(x), blur(y)
    var_x, var_y = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2
    covariance = blur(x * y) - mean_x * mean_y
    numerator = (2 * mean_x * mean_y + _C1) * (2 * covariance + _C2)
    return float((numerator / ((mean_x**2 + mean_y**2 + _C1) * (var_x + var_y + _C2))).mean())
