"""Image files in and out, as arrays; with all that files say and can do, see `ufafuse.runtime.pictures`."""

from pathlib import Path

from ufafuse.runtime.arrays import Array
from ufafuse.runtime.pictures.decode import decode_picture, read_picture
from ufafuse.runtime.pictures.write import check_output, write_image

__all__ = ["check_output", "decode_image", "read_image", "write_image"]


def read_image(path: Path, *, most: int | None = None, told: dict[str, None] | None = None) -> Array:
    """Decode a picture file, upright; see `read_picture`, which also gives what stands beside it.

    Args:
        path: The file.
        most: Pixels that it may declare; None: as `pixels.most_pixels` says for this machine.
        told: Takes what the user should know of the file, a sentence each and each once: what was left out or converted, and
            damage inside, which is looked for ``"quickly"``. None: nobody is told, as of a file that was read before.

    Returns:
        H x W (grey), H x W x 3 (BGR) or H x W x 4 (BGRA); uint8, uint16 or float32 as in the file.

    Raises:
        InputError: The file is missing, empty, truncated, no picture, too large, or has samples that are not read.
    """
    picture = read_picture(path, most=most, inside=None if told is None else "quickly")
    if told is not None:
        told.update(dict.fromkeys(picture.told(str(path))))
    return picture.array


def decode_image(data: bytes, name: str, *, most: int | None = None) -> Array:
    """Decode a picture file's bytes, of ``most`` pixels at most; ``name`` stands in the errors. As `read_image`."""
    return decode_picture(data, name, most=most).array
