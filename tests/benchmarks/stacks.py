"""Tiny focus stacks with known truth."""

from pathlib import Path

import cv2
import numpy as np


def textured(height: int, width: int, *, seed: int, contrast: float = 40.0) -> np.ndarray:
    """Fine texture on soft shades, float32 H x W x 3 in levels."""
    rng = np.random.default_rng(seed)
    fine = cv2.GaussianBlur(rng.normal(size=(height, width)), (0, 0), 0.8)
    soft = cv2.GaussianBlur(rng.normal(size=(height, width)), (0, 0), 12)
    grey = 128 + contrast * fine / fine.std() / 2 + 15 * soft / soft.std()
    return np.clip(np.repeat(grey[..., None], 3, 2), 0, 255).astype(np.float32)


def steps(truth: np.ndarray, count: int, *, step: float = 2.5, noise: float = 0.0, seed: int = 0) -> list[np.ndarray]:
    """Frames of a staircase: frame k is sharp on the k-th of ``count`` steps, blur grows by ``step`` pixels a frame. uint8."""
    rng = np.random.default_rng(seed)
    columns, frames = np.arange(truth.shape[1]), []
    blurred = [truth, *(cv2.GaussianBlur(truth, (0, 0), step * k) for k in range(1, count))]
    for number in range(count):
        apart = np.abs(columns * count // len(columns) - number)
        frame = np.stack([blurred[k][:, x] for x, k in zip(columns, apart, strict=True)], 1)
        frame = frame + noise * rng.normal(size=truth.shape)
        frames.append(np.clip(np.rint(frame), 0, 255).astype(np.uint8))
    return frames


def write_stack(folder: Path, frames: list[np.ndarray], truth: np.ndarray | None = None, suffix: str = ".png") -> Path:
    """Frames as f1, f2, ... f10; a shell would sort them otherwise."""
    folder.mkdir(parents=True)
    for number, frame in enumerate(frames, 1):
        assert cv2.imwrite(str(folder / f"f{number}{suffix}"), frame)
    if truth is not None:
        assert cv2.imwrite(str(folder / "truth.png"), np.clip(np.rint(truth), 0, 255).astype(np.uint8))
    return folder
