"""What the tests of all folders share."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

TRAIN = Path(__file__).resolve().parent / "train"
_APART = "UFAFUSE_TESTS_APART"
_SAID = "what the tests apart said"


class InAProcessOfItsOwn(pytest.Item):
    """Tests that are run by a pytest of their own, as one test of this one.

    torch's process groups have ended a process (SIGSEGV) that had loaded every inference engine before: not each time, and with
    no engine more to blame than another.
    """

    def __init__(self, *, ids, **rest):
        super().__init__(**rest)
        self.ids = ids

    def runtest(self):
        """Run them; what they said is the error where one fails, else a part of the summary."""
        command = [sys.executable, "-m", "pytest", "--color=no", "-q", "-m", ""]
        if self.config.pluginmanager.hasplugin("xdist"):
            command += ["--numprocesses=0", "--dist=no"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST_")}
        environment[_APART] = "1"
        done = subprocess.run(
            [*command, *self.ids], check=False, cwd=self.config.rootpath, env=environment, capture_output=True, text=True
        )
        if done.returncode:
            pytest.fail(f"exit code {done.returncode}\n{done.stdout[-20000:]}\n{done.stderr[-4000:]}", pytrace=False)
        self.user_properties.append((_SAID, "\n".join(line for line in done.stdout.splitlines() if not line.startswith("."))))

    def reportinfo(self):
        """Where they are."""
        return self.path, None, self.name


def pytest_addoption(parser):
    """Take `--most-cases`."""
    parser.addoption("--most-cases", type=int, metavar="N", help="of a test with more cases than these run N, spread evenly")


def _spread(items, most):
    """Split tests into those that run and the others: of one with many cases as many, the first and the last among them."""
    cases = {}
    for item in items:
        one = item.nodeid if item.get_closest_marker("every_case") else item.nodeid.partition("[")[0]
        cases.setdefault(one, []).append(item)
    kept = set()
    for each in cases.values():
        step = max(1, (len(each) - 1) / max(1, most - 1))
        kept |= {each[round(number * step)] for number in range(min(most, len(each)))}
    return [item for item in items if item in kept], [item for item in items if item not in kept]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(session, items):
    """The training's tests run apart from all others, and first, for they take longest; alone they run as they are."""
    if session.config.option.most_cases:
        items[:], others = _spread(items, session.config.option.most_cases)
        session.config.hook.pytest_deselected(items=others)
    trained = [item for item in items if item.path.is_relative_to(TRAIN)]
    if trained and len(trained) < len(items) and _APART not in os.environ and not session.config.option.collectonly:
        name = f"{len(trained)} tests of tests/train in a process of their own"
        apart = InAProcessOfItsOwn.from_parent(session, name=name, ids=[item.nodeid for item in trained])
        items[:] = [apart] + [item for item in items if not item.path.is_relative_to(TRAIN)]


def pytest_terminal_summary(terminalreporter):
    """What the tests apart came to."""
    for report in terminalreporter.getreports("passed"):
        for text in (value for name, value in report.user_properties if name == _SAID):
            terminalreporter.section("tests/train")
            terminalreporter.line(text)


@pytest.fixture(scope="session", autouse=True)
def _cache_of_the_tests(tmp_path_factory):
    """What engines compile is kept for this run only, and not among the user's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UFAFUSE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _results_fit_their_schemas(monkeypatch):
    """Whatever a command gives in these tests is as `ufa schema` says, with or without ``--json``."""
    if importlib.util.find_spec("jsonschema") is None:
        return
    import jsonschema

    from ufafuse.commands.results import RESULTS
    from ufafuse.commands.schema import schema_of
    from ufafuse.runtime import console
    from ufafuse.runtime.texts import json_text

    emit = console.emit

    def checked(result, *, as_json):
        context = console.context_in_use()
        name = "" if context is None else " ".join(context.command_path.split()[1:])  # such as "train ablation"
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
