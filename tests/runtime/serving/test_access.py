"""Who is answered: tokens, TLS, names of this machine; and what anybody may know."""

import shutil
import ssl
import subprocess

import pytest

from ufafuse.runtime.errors import InputError

TOKEN = "a-secret"


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def certificate(tmp_path):
    """A self-signed certificate for 127.0.0.1, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to make a certificate")
    paths = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    command += [
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-out",
        str(paths[0]),
        "-keyout",
        str(paths[1]),
    ]
    subprocess.run(command, check=True, capture_output=True)
    return paths


def test_a_token_is_asked_for_everything_but_health(small_engine, serve, ask):
    url = serve(token=TOKEN).url
    for path in ("v2/health/live", "v2/health/ready"):
        assert ask(url + path).status == 200
    for path in ("", "v2", "metrics", "fuse", "v2/models/small", "v2/health/../models/small", "v2/health", "nowhere"):
        refused = ask(url + path)
        assert refused.status == 401, path
        assert "Bearer" in refused.json()["error"]
        assert ask(url + path, **bearer("another")).status == 401, path
        assert ask(url + path, **bearer(TOKEN)).status != 401, path
    assert ask(url, Authorization=f"Basic {TOKEN}").status == 401
    assert ask(url + f"?token={TOKEN}").status == 401


def test_the_token_over_grpc(small_engine, serve):
    grpcclient = pytest.importorskip("tritonclient.grpc", reason="needs tritonclient[grpc]")
    from tritonclient.utils import InferenceServerException

    server = serve(token=TOKEN, grpc=("127.0.0.1", 0))
    with grpcclient.InferenceServerClient(f"127.0.0.1:{server.grpc_port}") as client:
        assert client.is_server_live()
        with pytest.raises(InferenceServerException, match="a token is needed"):
            client.get_server_metadata()
        assert client.get_server_metadata(headers={"authorization": f"Bearer {TOKEN}"}).name == "ufafuse"


def test_another_name_of_this_machine_is_not_answered_without_a_token(small_engine, serve, ask):
    url = serve().url
    for other in ("evil.example", "evil.example:8000", "localhost.evil.example", "[::2]:80", "[127.0.0.1", ""):
        refused = ask(url, Host=other)
        assert refused.status == 400, other
        assert "ask for localhost, or set a token" in refused.json()["error"], other
    for own in ("localhost", "LOCALHOST:8000", "127.0.0.1", "[::1]", "[::1]:8000"):
        assert ask(url, Host=own).status == 200, own


def test_what_is_no_address_or_no_method_is_one_sentence(small_engine, serve, ask):
    url = serve().url
    assert "error" in ask(f"{url}nowhere").json()
    for path, method, known in (("fuse", "GET", "POST"), ("v2", "DELETE", "GET"), ("metrics", "OPTIONS", "GET")):
        refused = ask(url + path, method=method)
        assert refused.status == 405
        assert "another method" in refused.json()["error"]
        assert known in refused.headers["Allow"], "RFC 9110 asks for it"


def test_browsers_are_told_to_keep_off(small_engine, serve, ask):
    headers = ask(serve().url).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "Access-Control-Allow-Origin" not in headers


def test_tls_over_both(small_engine, serve, ask, certificate):
    grpcclient = pytest.importorskip("tritonclient.grpc", reason="needs tritonclient[grpc]")
    server = serve(certificate=certificate[0], key=certificate[1], grpc=("127.0.0.1", 0))
    assert server.url.startswith("https://127.0.0.1:")
    context = ssl.create_default_context(cafile=str(certificate[0]))
    assert ask(f"{server.url}v2/health/ready", context=context).status == 200
    with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
        ask(f"{server.url}v2/health/ready", context=ssl.create_default_context())
    with grpcclient.InferenceServerClient(
        f"127.0.0.1:{server.grpc_port}", ssl=True, root_certificates=str(certificate[0])
    ) as client:
        assert client.is_server_live()


def test_a_certificate_that_is_none(small_engine, serve, certificate, tmp_path):
    broken = tmp_path / "broken.pem"
    broken.write_text("nothing")
    with pytest.raises(InputError, match="cannot be used for TLS"):
        serve(certificate=broken, key=certificate[1])
    with pytest.raises(InputError, match="is not a file"):
        serve(certificate=tmp_path / "missing.pem", key=certificate[1])


def test_figures_for_prometheus(small_engine, serve, ask, form, files):
    parser = pytest.importorskip("prometheus_client.parser")
    server = serve()
    body, kind = form(files)
    assert ask(f"{server.url}fuse", body, Content_Type=kind).status == 200
    assert ask(f"{server.url}fuse?align=wild", body, Content_Type=kind).status == 400
    answer = ask(f"{server.url}metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    samples = [sample for family in parser.text_string_to_metric_families(answer.body.decode()) for sample in family.samples]
    found = {(one.name, one.labels.get("code", one.labels.get("le", ""))): one.value for one in samples}
    assert found["ufafuse_requests_total", "200"] == 1
    assert found["ufafuse_requests_total", "400"] == 1
    assert found["ufafuse_fusion_seconds_bucket", "+Inf"] == 1
    assert found["ufafuse_requests_under_way", ""] == 0
    assert found["process_resident_memory_bytes", ""] > 1e6
