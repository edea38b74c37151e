"""Whether a loaded model still gives what it should, on this machine, in a fraction of a second.

A compiler's fault or a stale driver shows as a wrong picture and not as an error. So a small pair travels with a model,
packed with PyTorch's result on it as ``NAME.reference.npz``: beside the model, or with the bundled networks. The file is
found by the hash of the weights that it was made from, so it serves every precision and every engine of a network.
It is made where PyTorch is: ``ufa export --reference NAME.reference.npz --reference-size 64x96``, or
`ufafuse.export.verify.pack_reference`.
"""

from pathlib import Path

from ufafuse.runtime.checks.cases import Case, Findings, describe_profiles, load_reference, serves, verify_cases
from ufafuse.runtime.errors import ModelError
from ufafuse.runtime.filebytes import real_path
from ufafuse.runtime.models import FOLDER
from ufafuse.runtime.session import Session

PATTERN = "*.reference.npz"


def self_test(session: Session, model: Path) -> Findings:
    """Fuse the smallest packed pair, given to the engine as `Fuser` gives frames, and compare the result with the packed one.

    Args:
        session: The loaded model.
        model: Its file.

    Returns:
        What came out; `Findings.require` raises where it falls short.

    Raises:
        ModelError: No reference of these weights is packed, none has a size that the model serves, or one is broken.
        BackendError: The engine failed.
    """
    path, cases = find_reference(model, session.manifest.weights_sha256)
    served = [case for case in cases if serves(session.manifest, case.near.shape[:2])]
    if not served:
        raise ModelError(
            f"{model} serves {describe_profiles(session.manifest)}, and {path} holds no pair of such a size: pack one with "
            f"`ufa export --reference {path.name} --reference-size HxW`."
        )
    smallest = min(served, key=lambda case: case.near.size)
    return verify_cases(session, [smallest], artefact=model, reference=path, only_frames=True)


def find_reference(model: Path, weights_sha256: str) -> tuple[Path, list[Case]]:
    """The packed pairs for a model and the file they are in.

    Args:
        model: Its file; the folder is searched before that of the bundled networks.
        weights_sha256: The hash of the weights that it came from.

    Raises:
        ModelError: There are none, or a file is broken.
    """
    for folder in (real_path(model).parent, FOLDER):
        for path in sorted(folder.glob(PATTERN)):
            about, cases = load_reference(path)
            if about["weights_sha256"] == weights_sha256:
                return path, cases
    raise ModelError(
        f"no reference result is packed for {model.name}: run `ufa export --reference {model.stem}.reference.npz "
        "--reference-size 64x96` and put the file beside it."
    )
