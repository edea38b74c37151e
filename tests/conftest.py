"""What the tests of all folders share."""

import importlib.util
import json
import os
from pathlib import Path

import cv2
import pytest


@pytest.fixture(autouse=True)
def _results_fit_their_schemas(monkeypatch):
    """Whatever a command gives in these tests is as `ufa schema` says, with or without ``--json``."""
    if importlib.util.find_spec("jsonschema") is None:
        return
    import jsonschema

    from ufafuse.commands.results import RESULTS, schema_of
    from ufafuse.runtime import console
    from ufafuse.runtime.texts import json_text

    emit = console.emit

    def checked(result, *, as_json):
        name = " ".join(console.command_in_use().split()[1:])
        if name in RESULTS:
            jsonschema.validate(json.loads(json_text(result)), schema_of(name))
        emit(result, as_json=as_json)

    monkeypatch.setattr(console, "emit", checked)


EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


@pytest.fixture(scope="session")
def data_folder():
    """The folder of pictures that are not part of the project, named by UFAFUSE_DATA; without it the test is skipped."""
    named = os.environ.get("UFAFUSE_DATA")
    if not named or not Path(named).is_dir():
        pytest.skip("needs pictures: set UFAFUSE_DATA to a folder with pairs_val/, lytro/ and pcb/")
    return Path(named)


@pytest.fixture(scope="session")
def sample_pair():
    """The near frame, the far frame and the truth of the pair that comes with the examples: H x W x 3 uint8, BGR."""
    return tuple(cv2.imread(str(EXAMPLES / f"sample_{side}.png")) for side in ("A", "B", "GT"))
