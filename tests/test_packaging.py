"""What pyproject says about the package is what lies in the folders."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli", reason="reading pyproject.toml needs Python 3.11 or the package tomli")

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("runtime", "network", "train", "export", "calibration", "benchmarks", "commands")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_what_is_installed_are_the_folders_at_the_top() -> None:
    """Links, so that a static tool that reads the path of an editable install finds each file as an import finds it."""
    links = {path.name: path.resolve() for path in (ROOT / "src" / "ufafuse").iterdir() if path.is_symlink()}
    assert links == {folder: ROOT / folder for folder in FOLDERS}
    code = {path.parent for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")}
    assert all((folder / "__init__.py").is_file() for folder in code)


def test_a_static_tool_finds_every_module_of_an_editable_install() -> None:
    """What mypy, pyright and editors do: no import hook, only folders on the path."""
    import ufafuse.runtime

    if not Path(ufafuse.runtime.__file__).resolve().is_relative_to(ROOT):
        pytest.skip("the installed package is not an editable one of this folder")
    roots = {Path(entry) for entry in sys.path if (Path(entry) / "ufafuse").is_dir()}
    assert any((root / "ufafuse" / folder / "__init__.py").is_file() for root in roots for folder in FOLDERS)


def test_every_file_that_is_not_code_is_package_data() -> None:
    patterns = {pattern for patterns in PYPROJECT["tool"]["setuptools"]["package-data"].values() for pattern in patterns}
    suffixes = {path.suffix for folder in FOLDERS for path in (ROOT / folder).rglob("*.*") if path.is_file()}
    allowed = {Path(pattern).suffix for pattern in patterns} | {".py", ".pyc", ".md", ""}
    assert suffixes <= allowed


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_top_level_folder_has_types_and_a_page_of_its_own(folder: str) -> None:
    assert (ROOT / folder / "py.typed").is_file()
    assert (ROOT / folder / "README.md").is_file()


def test_the_console_command_is_there() -> None:
    module, function = PYPROJECT["project"]["scripts"]["ufa"].split(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_what_most_programs_need_is_at_the_top() -> None:
    import ufafuse
    from ufafuse.runtime.fuser import Fuser
    from ufafuse.runtime.stack import fuse_stack

    assert ufafuse.Fuser is Fuser
    assert ufafuse.fuse_stack is fuse_stack
    assert ufafuse.__version__ == PYPROJECT["project"]["version"]
    with pytest.raises(AttributeError, match="no attribute 'Fusser'"):
        _ = ufafuse.Fusser


def test_the_top_is_typed() -> None:
    """PEP 561 looks into the top package alone: without the marker there, mypy takes `ufafuse.Fuser` for missing."""
    assert (ROOT / "src" / "ufafuse" / "py.typed").is_file()


@pytest.mark.parametrize("module", ["ufafuse", "ufafuse.runtime", "ufafuse.runtime.stream", "ufafuse.network"])
def test_what_is_imported_when_it_is_asked_for_is_seen_before(module: str) -> None:
    """By `dir`, by completion in a shell, by `help`."""
    code = f"import {module}; print(*(set({module}.__all__) - set(dir({module}))), '__name__' in dir({module}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["True"]


def test_the_top_imports_nothing_by_itself() -> None:
    code = "import sys, ufafuse; print([name for name in ('numpy', 'cv2', 'torch', 'typer') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_one_version_everywhere() -> None:
    version = PYPROJECT["project"]["version"]
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    sections = re.findall(r"^## (\S+)(?: - (\S+))?$", changes, re.MULTILINE)
    assert sections[0] == ("Unreleased", "")
    assert sections[1][0] == version
    cited = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"version: {version}\n" in cited
    assert f'date-released: "{sections[1][1]}"' in cited
    images = re.findall(
        r"ufafuse-serve\S*:(\S+)", "".join(path.read_text() for path in sorted((ROOT / "deploy").glob("*.yaml")))
    )
    assert images and set(images) == {version}


@pytest.mark.parametrize("page", ["README.md", "docs/install.md"])
def test_a_page_on_installing_names_every_extra(page: str) -> None:
    rows = [line.split("|")[1] for line in (ROOT / page).read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    named = set(re.findall(r"`(?:ufafuse)?\[?(\w+)\]?`", " ".join(rows)))
    assert set(PYPROJECT["project"]["optional-dependencies"]) - named == set()
