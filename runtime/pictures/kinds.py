"""What a file is, by its first bytes: names lie, and what is refused should be called by its name."""

from __future__ import annotations

from pathlib import Path

SNIFFED = 132  # bytes

# Of these, each is decoded by one reader; see `decode`.
OPENCV = frozenset(("PNG", "JPEG", "BMP", "WebP", "GIF", "AVIF", "JPEG 2000"))
RAW_SUFFIXES = frozenset((
    ".dng", ".nef", ".nrw", ".cr2", ".cr3", ".crw", ".arw", ".srf", ".sr2", ".orf", ".rw2", ".raf", ".pef", ".srw", ".x3f",
    ".3fr", ".erf", ".kdc", ".dcr", ".mef", ".mos", ".iiq", ".rwl", ".raw", ".gpr",
))  # fmt: skip
VIDEO_SUFFIXES = frozenset(
    (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".mts", ".wmv", ".ogv", ".y4m")
)
PICTURE_SUFFIXES = frozenset((
    ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".jps", ".mpo", ".tif", ".tiff", ".btf", ".tf8", ".stk", ".lsm",
    ".bmp", ".dib", ".webp", ".avif", ".heic", ".heif", ".hif", ".exr", ".hdr", ".pfm", ".pgm", ".ppm", ".pbm", ".pnm", ".pam",
    ".jp2", ".j2k", ".j2c", ".jpc", ".jpx", ".jpf", ".gif",
)) | RAW_SUFFIXES - {".raw"}  # fmt: skip

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff\xf7", "a JPEG-LS picture"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"BM", "BMP"),
    (b"GIF8", "GIF"),
    (b"\x76\x2f\x31\x01", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"#?RGBE", "Radiance HDR"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL picture"),
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"IIRO", "raw"),
    (b"IIRS", "raw"),
    (b"MMOR", "raw"),
    (b"IIU\0", "raw"),
    (b"FUJIFILMCCD-RAW", "raw"),
    (b"FOVb", "raw"),
    (b"II\x1a\0\0\0HEAPCCDR", "raw"),
    # Known, so that the refusal can say what it is.
    (b"%PDF", "a PDF document"),
    (b"8BPS", "a Photoshop document (PSD)"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"gimp xcf", "a GIMP image (XCF)"),
    (b"SIMPLE  =", "a FITS file"),
    (b"ZISRAWFILE", "a Zeiss microscope's file (CZI)"),
    (b"\xda\xce\xbe\x0a", "a Nikon microscope's file (ND2)"),
    (b"II\xbc\x01", "a JPEG XR picture"),
    (b"\x59\xa6\x6a\x95", "a Sun raster picture"),
    (b"\0\0\1\0", "an icon (ICO)"),
    (b"qoif", "a QOI picture"),
    (b"SDPX", "a DPX picture"),
    (b"XPDS", "a DPX picture"),
    (b"DDS ", "a DDS texture"),
    (b"\xabKTX ", "a KTX texture"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x93NUMPY", "a NumPy array (.npy)"),
    (b"version https://git-lfs", "a Git LFS pointer and not the file itself (git lfs pull)"),
    (b"<svg", "an SVG drawing"),
    (b"<!DOCTYPE", "a web page"),
    (b"<!doctype", "a web page"),
    (b"<html", "a web page"),
    (b"<?xml", "an XML file"),
    (b"\xff\xd8", "JPEG"),
)
_NETPBM = {b"PF": "PFM", b"Pf": "PFM"} | {b"P%d" % number: "PNM" for number in range(1, 8)}
_BRANDS = {
    "AVIF": (b"avif", b"avis"),
    "HEIF": (b"heic", b"heix", b"hevc", b"heim", b"heis", b"hevx", b"mif1", b"msf1"),
    "raw": (b"crx ",),
}


def kind_of(head: bytes) -> str:
    """The format by a file's first `SNIFFED` bytes: ``"PNG"``, ``"TIFF"``, ``"raw"``, ``"video"`` ...; ``""`` if unknown.

    What is known but never read begins with an article: ``"a PDF document"``.
    """
    if head[4:8] == b"ftyp":
        brands = [head[8:12], *(head[at : at + 4] for at in range(16, min(len(head), int.from_bytes(head[:4], "big")), 4))]
        for kind, known in _BRANDS.items():
            if brands[0] in known:
                return kind
        return next((kind for brand in brands for kind, known in _BRANDS.items() if brand in known), "video")
    if head.startswith(b"RIFF"):
        return {b"WEBP": "WebP", b"AVI ": "video"}.get(head[8:12], "")
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "video"
    if len(head) > 2 and head[:2] in _NETPBM and head[2:3] in b" \t\r\n":
        return _NETPBM[head[:2]]
    found = next((kind for magic, kind in _MAGIC if head.startswith(magic)), "")
    return "a DICOM file" if not found and head[128:132] == b"DICM" else found


def is_video(path: Path) -> bool:
    """Whether the suffix is a video's."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def is_picture(path: Path) -> bool:
    """Whether the suffix is one of a picture that can be read (some with an extra), and the file is not hidden."""
    return path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".")
