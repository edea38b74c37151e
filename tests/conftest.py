"""What the tests of all folders share."""

import functools
import gc
import importlib.util
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
import typer.testing

from ufafuse.commands import cli

TRAIN = Path(__file__).resolve().parent / "train"
_APART = "UFAFUSE_TESTS_APART"
_SAID = "what the tests apart said"
_FAST = "not slow and not gpu"  # as pyproject.toml has it
_LEAST = 4  # combinations of a test's parameters


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
    """Take `--combinations` and `--most-cases`."""
    parser.addoption(
        "--combinations",
        choices=("few", "all"),
        help="of a test with several parameters run as many combinations as show each value of each (four at least), or all; "
        "by default few where the fast tests run as a whole, and all where files, folders, -m or -k say which",
    )
    parser.addoption("--most-cases", type=int, metavar="N", help="of a test with more cases than these run N, spread evenly")


def pytest_configure(config):
    """Decide on combinations, of which the processes of pytest-xdist are told; and put the commands together once.

    What a command declares takes typer as long to read as most of what the tests ask of it takes.
    """
    cli.build_app = functools.cache(cli.build_app)
    typer.testing._get_command = functools.cache(typer.testing._get_command)
    option = config.option
    if option.combinations is None:
        whole = config.args_source is config.ArgsSource.TESTPATHS and option.markexpr == _FAST and not option.keyword
        option.combinations = "few" if whole else "all"


def _of_one_test(items):
    """The cases of each test; those of which all are to run are tests of their own."""
    cases = {}
    for item in items:
        one = item.nodeid if item.get_closest_marker("every_case") else item.nodeid.partition("[")[0]
        cases.setdefault(one, []).append(item)
    return cases.values()


def _values(item):
    """Which value of each of its parameters a case has: {parameters that come together: identities of the values}."""
    if not hasattr(item, "callspec"):
        return {}
    names = [mark.args[0] for mark in item.iter_markers("parametrize")]
    together = [tuple(each.replace(",", " ").split()) if isinstance(each, str) else tuple(each) for each in names]
    given = item.callspec.params  # the values themselves, which all cases share
    alone = set(given).difference(*together)  # of fixtures
    return {each: tuple(id(given[name]) for name in each) for each in (*together, *((name,) for name in sorted(alone)))}


def _few_combinations(items):
    """As `_spread`: of a test with several parameters those combinations that show most of what the ones before did not."""
    kept = set()
    for each in _of_one_test(items):
        left = {item: _values(item) for item in each}
        several = sum(len(set(values)) > 1 for values in zip(*(found.values() for found in left.values()), strict=True)) > 1
        if not several:
            kept |= left.keys()
            continue
        shown = {item: set(found.items()) for item, found in left.items()}
        pairs = {item: set(itertools.combinations(sorted(found.items()), 2)) for item, found in left.items()}
        unseen, unpaired, count = set().union(*shown.values()), set().union(*pairs.values()), 0
        while left and (unseen or count < _LEAST):
            best = max(left, key=lambda item: (len(shown[item] & unseen), len(pairs[item] & unpaired)))
            unseen, unpaired, count = unseen - shown[best], unpaired - pairs[best], count + 1
            kept.add(best)
            del left[best]
    return _split(items, kept)


def _spread(items, most):
    """Split tests into those that run and the others: of one with many cases as many, the first and the last among them."""
    kept = set()
    for each in _of_one_test(items):
        step = max(1, (len(each) - 1) / max(1, most - 1))
        kept |= {each[round(number * step)] for number in range(min(most, len(each)))}
    return _split(items, kept)


def _split(items, kept):
    """Those that run and the others, in their order."""
    return [item for item in items if item in kept], [item for item in items if item not in kept]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(session, items):
    """The training's tests run apart from all others, and first, for they take longest; alone they run as they are."""
    option = session.config.option
    others = []
    if option.most_cases:
        items[:], others = _spread(items, option.most_cases)
    elif option.combinations == "few":
        items[:], others = _few_combinations(items)
    session.config.hook.pytest_deselected(items=others)
    trained = [item for item in items if item.path.is_relative_to(TRAIN)]
    if trained and len(trained) < len(items) and _APART not in os.environ and not option.collectonly:
        name = f"{len(trained)} tests of tests/train in a process of their own"
        apart = InAProcessOfItsOwn.from_parent(session, name=name, ids=[item.nodeid for item in trained])
        items[:] = [apart] + [item for item in items if not item.path.is_relative_to(TRAIN)]


def pytest_collection_finish():
    """Keep what was imported out of the collector's sight, which is half a million objects, and let it look seldom.

    Tracing a network makes millions of objects that stay while it is traced: by default an eighth of the time goes in looking.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 20)


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
