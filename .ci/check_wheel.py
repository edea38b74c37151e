"""The wheel holds what a user needs (bundled networks, type marker, licence) and nothing that only developers need."""

import sys
import zipfile

NEEDED = (
    "ufafuse/runtime/models/ufa.safetensors",
    "ufafuse/runtime/models/ufa.onnx",
    "ufafuse/runtime/models/ufa-stack.onnx",
    "ufafuse/runtime/models/ufa-stack.encode.onnx",
    "ufafuse/runtime/models/ufa-stack.common.onnx",
    "ufafuse/runtime/models/ufa-stack.score.onnx",
    "ufafuse/runtime/models/focus-gaps.json",
    "ufafuse/__init__.py",
    "ufafuse/__main__.py",
    "ufafuse/py.typed",
    "ufafuse/runtime/py.typed",
    "ufafuse/network/py.typed",
    "ufafuse/train/py.typed",
    "ufafuse/export/py.typed",
    "ufafuse/calibration/py.typed",
    "ufafuse/benchmarks/py.typed",
    "licenses/LICENSE",
)
FORBIDDEN = ("/tests/", "/examples/", ".ci/", "ufafuse_rivals/")


def main() -> int:
    """Exit code 1 with the offending names when something is missing or too much."""
    names = zipfile.ZipFile(sys.argv[1]).namelist()
    missing = [needed for needed in NEEDED if not any(name.endswith(needed) for name in names)]
    stray = [name for name in names if any(part in f"/{name}" for part in FORBIDDEN)]
    print(f"{sys.argv[1]}: {len(names)} files, missing {missing or 'none'}, stray {stray or 'none'}")
    return 1 if missing or stray else 0


if __name__ == "__main__":
    sys.exit(main())
