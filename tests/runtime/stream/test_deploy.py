"""The files in deploy/ name options and paths that exist."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ufafuse.commands.cli import build_app

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"


def settings():
    lines = (DEPLOY / "stream.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def known_options():
    help_text = CliRunner().invoke(build_app(), ["stream", "--help"], env={"COLUMNS": "200"}).output
    return set(re.findall(r"--[a-z][a-z-]+", help_text))


def test_the_units_command_runs_with_its_settings(tmp_path):
    unit = (DEPLOY / "ufafuse-stream.service").read_text()
    command = re.search(r"^ExecStart=(.*)$", unit, re.MULTILINE)[1]
    values = settings()
    values["OUT"] = str(tmp_path / Path(values["OUT"]).name)
    words = shlex.split(command.replace("$OPTIONS", values["OPTIONS"].replace("8080", "0")))
    words = [re.sub(r"\$\{(\w+)\}", lambda found: values[found[1]], word) for word in words]
    assert words[:2] == ["/opt/ufafuse/bin/ufa", "stream"]
    done = CliRunner().invoke(build_app(), [*words[1:], "--model", "copy", "--frames", "3"])
    assert done.exit_code == 0, done.output
    assert len(list(tmp_path.glob("fused-2*.mkv"))) == 1


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_understands_the_unit(tmp_path):
    text = (DEPLOY / "ufafuse-stream.service").read_text().replace("/opt/ufafuse/bin/ufa", "/bin/true")
    unit = tmp_path / "ufafuse-stream.service"
    unit.write_text(text)
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=60, check=False)
    complaints = [line for line in done.stderr.splitlines() if unit.name in line]
    assert not complaints


@pytest.mark.parametrize("name", ["Containerfile.x86-64", "Containerfile.jetson"])
def test_container_files_use_options_and_extras_that_exist(name):
    text = (DEPLOY / name).read_text()
    for line in text.splitlines():
        if "ufafuse stream" in line:
            assert set(re.findall(r"--[a-z][a-z-]+", line.partition("ufafuse stream")[2])) <= known_options()
    for copied in re.findall(r"^COPY (?!--from)(\S+) ", text, re.MULTILINE):
        assert (ROOT / copied).exists()
    project = (ROOT / "pyproject.toml").read_text()
    for requirement in re.findall(r'"([\w.-]+>=[\d.]+)"', text):
        assert f'"{requirement}"' in project
    extras = re.search(r'"/source\[([\w,]+)\]"', text)[1].split(",")
    for extra in extras:
        assert re.search(rf"^{extra} = \[", project, re.MULTILINE)
    assert ("--view" in text) <= ("view" in extras), "the page needs its library"
    if "ufafuse build" in text:
        assert '"onnx>=' in text, "`ufa build` reads the model with onnx"
    assert re.search(r'^ENTRYPOINT \["ufa"\]$', text, re.MULTILINE)
