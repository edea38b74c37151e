"""The seven fusion metrics of the paper's tables, Qcb, younger judges, PSNR and SSIM, from NumPy and SciPy alone.

`score` is the one function that most callers need; each metric is a plain function of its own on planes.
"""

from ufafuse.benchmarks.metrics import contrast, edges, fidelity, information, levels, similarity, truth, wavelets
from ufafuse.benchmarks.metrics.planes import Plane, as_levels, check_samples, grey, red
from ufafuse.benchmarks.metrics.white import White
from ufafuse.runtime.arrays import Array, Bytes
from ufafuse.runtime.errors import InputError

METRICS = ("AVG", "STD", "SEN", "VIFF", "Qabf", "Qc", "Qm", "Qcb")
"""In the order of the paper's table; more is better in each."""

JUDGES = ("Qmi", "Qncie", "Qs", "Qw")
"""Judges that the paper does not have and later comparisons do; more is better in each."""

TRUTH_METRICS = ("PSNR", "SSIM", "LPIPS")
"""Only where the all-in-focus picture is known; the last only where it is asked for."""

STACK_METRICS = ("detail_sharp", "detail_low", "detail_added", "depth_error", "depth_known", "depth_filled")
"""Of stacks, see `ufafuse.benchmarks.stacks`; less is better in `LESS_IS_BETTER`."""

LESS_IS_BETTER = frozenset({"LPIPS", "detail_added", "depth_error", "depth_filled"})

SHARES = frozenset({"detail_sharp", "detail_low", "detail_added", "depth_known"})
"""Metrics from 0 to 1 that tables show in per cent."""

__all__ = [
    "JUDGES",
    "LESS_IS_BETTER",
    "METRICS",
    "SHARES",
    "STACK_METRICS",
    "TRUTH_METRICS",
    "against_truth",
    "as_levels",
    "score",
]


def score(
    near: Array, far: Array, fused: Array, reference: Array | None = None, *, perceptual: str | None = None
) -> dict[str, float]:
    """All metrics of one fused pair.

    Args:
        near: A source, H x W (grey) or H x W x 3 (BGR), uint8, uint16 or float. Of the last two the level of white is what both
            sources reach, as in their fusion (12 bits in 16, floats beyond 1), for all pictures of that type.
        far: The other source. Grey and colour may be mixed, as in infrared and visible pairs: a grey picture stands for its
            own red channel.
        fused: The fused picture.
        reference: The all-in-focus picture, where it is known; adds PSNR (dB) and SSIM.
        perceptual: One of `perceptual.NETS`: adds LPIPS where there is a reference.

    Returns:
        Name to value, in the order of `METRICS` and `JUDGES`; NaN where a metric is not defined on this
        pair (a picture too small, or without any edge).

    Raises:
        InputError: The pictures differ in size, are smaller than 2 x 2, or have samples that no metric is defined on.
    """
    images = {"near": near, "far": far, "fused": fused} | ({} if reference is None else {"reference": reference})
    for image in images.values():
        check_samples(image)
    sizes = {name: image.shape[:2] for name, image in images.items()}
    if len(set(sizes.values())) > 1:
        found = ", ".join(f"{name} {'x'.join(map(str, size))}" for name, size in sizes.items())
        raise InputError(f"the pictures of a pair must have one size, found {found}: crop or align them first.")
    if min(fused.shape[:2]) < 2:
        raise InputError("a metric was asked of a picture that is one pixel high or wide: give 2 x 2 or more.")
    white = White.of_frames([near, far])
    eight_bit = {name: white.bytes(image) for name, image in images.items()}
    sources = [eight_bit[name] for name in ("near", "far", "fused")]
    values = _on_red(*map(red, sources)) | _on_grey(*map(grey, sources))
    values = {name: values[name] for name in (*METRICS, *JUDGES)}
    if reference is not None:
        values |= against_truth(eight_bit["reference"], eight_bit["fused"])
        if perceptual is not None:
            from ufafuse.benchmarks.metrics.perceptual import lpips

            values["LPIPS"] = lpips(eight_bit["reference"], eight_bit["fused"], perceptual)
    return values


def _on_red(near: Plane, far: Plane, fused: Plane) -> dict[str, float]:
    return {
        "AVG": levels.average_gradient(fused),
        "STD": levels.standard_deviation(fused),
        "SEN": levels.entropy(fused),
        "Qabf": edges.edge_transfer(near, far, fused),
    }


def _on_grey(near: Plane, far: Plane, fused: Plane) -> dict[str, float]:
    unweighted, weighted = similarity.weighted_similarity(near, far, fused)
    shared, correlated = information.shared_and_correlated(near, far, fused)
    return {
        "VIFF": fidelity.visual_fidelity(near, far, fused),
        "Qc": similarity.structural_transfer(near, far, fused),
        "Qm": wavelets.multiscale_edges(near, far, fused),
        "Qcb": contrast.contrast_preservation(near, far, fused),
        "Qmi": shared,
        "Qncie": correlated,
        "Qs": unweighted,
        "Qw": weighted,
    }


def against_truth(reference: Bytes, fused: Bytes) -> dict[str, float]:
    """PSNR and SSIM of a fused picture, H x W [x 3] uint8; where one of the two is grey, it stands in all channels."""
    if reference.ndim != fused.ndim:
        reference, fused = (picture if picture.ndim == 3 else picture[..., None].repeat(3, 2) for picture in (reference, fused))
    return {"PSNR": truth.psnr(reference, fused), "SSIM": truth.ssim(reference, fused)}
