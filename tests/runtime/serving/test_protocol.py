"""The Open Inference Protocol, asked by Triton's own clients and by hand."""

import base64
import json

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ufafuse.runtime.errors import UfaError
from ufafuse.runtime.fuser import Fuser
from ufafuse.runtime.serving.rest import inference_from
from ufafuse.runtime.serving.tensors import Output, SentTensor
from ufafuse.runtime.stack import StackOptions, fuse_stack


class Asking:
    """One of Triton's client libraries, and the server's address for it."""

    def __init__(self, module, url):
        self.module, self.url, self.client = module, url, module.InferenceServerClient(url)

    def infer(self, tensors, outputs=(), **more):
        inputs = []
        for name, (datatype, array) in tensors.items():
            entry = self.module.InferInput(name, list(array.shape), datatype)
            entry.set_data_from_numpy(array)
            inputs.append(entry)
        wanted = [self.module.InferRequestedOutput(name) for name in outputs] or None
        return self.client.infer("small", inputs, outputs=wanted, **more)


@pytest.fixture(params=["http", "grpc"])
def triton(request, serve):
    """Triton's client for each of the two protocols, connected to a server of the small network."""
    module = pytest.importorskip(f"tritonclient.{request.param}", reason="needs tritonclient[http,grpc]")
    made = []

    def connect(**options):
        server = serve(grpc=("127.0.0.1", 0), **options)
        port = server.address[1] if request.param == "http" else server.grpc_port
        made.append(Asking(module, f"127.0.0.1:{port}"))
        return made[-1]

    yield connect
    for asking in made:
        asking.client.close()


@pytest.fixture
def expected(write_model, small_engine):
    def fuse(near, far):
        with Fuser(write_model(), backend="onnxruntime") as fuser:
            return fuser.fuse_with_map(near, far)

    return fuse


def uint8(*frames):
    return {name: ("UINT8", np.stack([frame])) for name, frame in zip(("near", "far"), frames, strict=True)}


def test_what_a_client_asks_first(small_engine, triton):
    client = triton().client
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("small")
    assert not client.is_model_ready("huge")
    for told in (client.get_server_metadata(), client.get_model_metadata("small"), client.get_model_config("small")):
        assert "ufafuse" in str(told) or "small" in str(told)
    assert "near" in str(client.get_model_metadata("small"))
    assert "small" in str(client.get_model_repository_index())


def test_tensors_give_what_the_fuser_gives(triton, pair, expected):
    fused, weights = expected(*pair)
    asking = triton()
    answer = asking.infer(uint8(*pair), ["fused", "map"])
    np.testing.assert_array_equal(answer.as_numpy("fused"), fused[None])
    np.testing.assert_allclose(answer.as_numpy("map"), weights[None], atol=1e-6)
    assert answer.get_output("image") is None
    np.testing.assert_array_equal(asking.infer(uint8(*pair)).as_numpy("fused"), fused[None])
    assert "count" in str(asking.client.get_inference_statistics("small"))


def test_several_pairs_in_one_request(triton, pair, expected):
    near, far = np.stack([pair[0], pair[1]]), np.stack([pair[1], pair[1]])
    answer = triton().infer({"near": ("UINT8", near), "far": ("UINT8", far)})
    np.testing.assert_array_equal(answer.as_numpy("fused")[0], expected(*pair)[0])
    np.testing.assert_array_equal(answer.as_numpy("fused")[1], expected(pair[1], pair[1])[0])


@pytest.mark.parametrize(("datatype", "dtype"), [("UINT16", np.uint16), ("FP32", np.float32)])
def test_other_depths_one_frame_and_rgb(triton, rng, expected, datatype, dtype):
    top = 1 if dtype == np.float32 else 65535
    near, far = ((rng.random((24, 32, 3)) * top).astype(dtype) for _ in range(2))
    asking = triton()
    answer = asking.infer({"near": (datatype, near), "far": (datatype, far)})
    np.testing.assert_array_equal(answer.as_numpy("fused"), expected(near, far)[0])
    turned = asking.infer({"near": (datatype, near), "far": (datatype, far)}, parameters={"order": "rgb"})
    assert not np.array_equal(turned.as_numpy("fused"), answer.as_numpy("fused"))


def test_encoded_pictures(triton, files, pair, expected):
    array = np.array([data for _, data in files], dtype=object)
    asking = triton()
    fused = expected(*pair)[0]
    answer = asking.infer({"images": ("BYTES", array)})
    picture = answer.as_numpy("image")[0]
    np.testing.assert_array_equal(cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR), fused)
    answer = asking.infer({"images": ("BYTES", array)}, ["fused", "image"], parameters={"format": "jpg", "order": "rgb"})
    assert answer.as_numpy("image")[0].startswith(b"\xff\xd8\xff")
    np.testing.assert_array_equal(answer.as_numpy("fused"), fused[..., ::-1])


def test_what_cannot_be_used_is_told(small_engine, triton, pair):
    from tritonclient.utils import InferenceServerException

    asking = triton()
    short = np.zeros((1, 24, 31, 3), np.uint8)
    cases = [
        ({"near": ("UINT8", np.stack([pair[0]]))}, {}, "send near and far"),
        ({"near": ("UINT8", np.stack([pair[0]])), "far": ("UINT8", short)}, {}, "have to be alike"),
        ({"near": ("INT8", short.astype(np.int8)), "far": ("INT8", short.astype(np.int8))}, {}, "send UINT8"),
        (uint8(*pair), {"outputs": ["depth"]}, "no output 'depth'"),
        (uint8(*pair), {"outputs": ["fused", "map", "fused"]}, "asked for twice"),
        (uint8(*pair), {"parameters": {"align": "wild"}}, "align=wild"),
        (uint8(*pair), {"parameters": {"colour": "red"}}, "colour"),
        ({"near": ("FP32", np.full((4, 4), np.nan, np.float32)), "far": ("FP32", np.zeros((4, 4), np.float32))}, {}, "NaN"),
        ({"images": ("BYTES", np.array([b"x", b"y"], dtype=object))}, {}, "image 1 is no image"),
    ]
    for tensors, more, text in cases:
        with pytest.raises(InferenceServerException) as refused:
            asking.infer(tensors, **more)
        assert text in refused.value.message()
    with pytest.raises(InferenceServerException) as refused:
        asking.client.get_model_metadata("huge")
    assert "there are small" in refused.value.message()


def test_an_error_is_not_longer_than_a_client_takes(small_engine, serve):
    module = pytest.importorskip("tritonclient.grpc")
    client = module.InferenceServerClient(f"127.0.0.1:{serve(grpc=('127.0.0.1', 0)).grpc_port}")
    with pytest.raises(module.InferenceServerException, match="no model is called 'xxx"):
        client.get_model_metadata("x" * 100_000)
    client.close()


def test_a_clients_timeout_and_a_full_queue(gate, triton, serve, pair, behind):
    from tritonclient.utils import InferenceServerException

    asking = triton(queue=0)
    first = behind(lambda: asking.infer(uint8(*pair)))
    gate.wait_entered()
    other = Asking(asking.module, asking.url)
    with pytest.raises(InferenceServerException) as refused:
        other.infer(uint8(*pair))
    assert "come again" in refused.value.message()
    assert refused.value.status() in ("503", "StatusCode.UNAVAILABLE")
    gate.open.set()
    assert first().as_numpy("fused").shape == (1, 24, 32, 3)
    gate.open.clear()
    with pytest.raises(InferenceServerException) as late:
        other.infer(uint8(*pair), timeout=200_000)  # microseconds
    assert late.value.status() in ("504", "StatusCode.DEADLINE_EXCEEDED")
    other.client.close()


def rest(ask, server, values, tail=b""):
    text = json.dumps(values).encode()
    headers = {"Inference_Header_Content_Length": str(len(text))} if tail else {}
    return ask(f"{server.url}v2/models/small/infer", text + tail, **headers)


def tensor(name, array, **more):
    return {"name": name, "datatype": "UINT8", "shape": list(array.shape), "data": array.ravel().tolist(), **more}


def test_json_alone(serve, ask, pair, files, expected):
    server, fused = serve(), expected(*pair)[0]
    answer = rest(ask, server, {"id": "7", "inputs": [tensor("near", pair[0]), tensor("far", pair[1])]})
    assert answer.status == 200
    found = answer.json()
    assert (found["id"], found["model_name"], found["model_version"]) == ("7", "small", "1")
    assert found["outputs"][0]["shape"] == [24, 32, 3]
    np.testing.assert_array_equal(np.reshape(found["outputs"][0]["data"], (24, 32, 3)), fused)
    texts = [base64.b64encode(data).decode() for _, data in files]
    values = {"inputs": [{"name": "images", "datatype": "BYTES", "shape": [2], "data": texts}]}
    picture = base64.b64decode(rest(ask, server, values).json()["outputs"][0]["data"][0])
    np.testing.assert_array_equal(cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR), fused)


def test_numbers_that_are_no_bytes_are_refused_and_never_wrapped(small_engine, serve, ask, pair):
    server = serve()
    for bad in (256, -1, 0.5, "x", None, [1, 2]):
        values = tensor("near", pair[0])
        values["data"][5] = bad
        answer = rest(ask, server, {"inputs": [values, tensor("far", pair[1])]})
        assert answer.status == 400, bad


def one(name="near", **more):
    """An input, whose shape and data are to be named."""
    return {"name": name, "datatype": "UINT8", **more}


def both(**more):
    return {"inputs": [one("near", **more), one("far", **more)]}


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([], "no JSON object"),
        ({}, "`inputs` is no list"),
        ({"inputs": [1]}, "`inputs` is no list"),
        ({"inputs": [{"name": "near"}]}, "needs a name, a datatype and a shape"),
        ({"inputs": [one(shape=[True])]}, "needs a name"),
        ({"inputs": [one(shape=[1], parameters=1)]}, "`parameters` is no JSON object"),
        ({"inputs": [one(shape=[9], parameters={"binary_data_size": 9})]}, "0 are left"),
        (both(shape=[1 << 40] * 4, data=[]), "0 numbers"),
        (both(shape=[-1, 2], data=[]), "sizes of 1 or more"),
        ({"inputs": [one(shape=[1], data=[1])] * 2}, "two inputs are called"),
        ({"inputs": [{"name": "images", "datatype": "BYTES", "shape": [2], "data": ["!", "!"]}]}, "no base64"),
        ({"inputs": [{"name": "images", "datatype": "BYTES", "shape": [3], "data": ["", ""]}]}, "2 elements"),
        ({"inputs": [], "outputs": [{"name": ["x"], "parameters": {}}]}, "each of `outputs` needs a name"),
        ({"inputs": [], "outputs": [{}]}, "each of `outputs` needs a name"),
        ({"inputs": [], "outputs": [{"name": "fused", "parameters": []}]}, "`parameters` is no JSON object"),
        ({"inputs": [], "outputs": [{"name": "fused", "parameters": {"binary_data": "no"}}]}, "neither true nor false"),
        ({"inputs": [], "parameters": {"binary_data_output": 1}}, "neither true nor false"),
    ],
)
def test_requests_that_are_not_as_the_protocol_has_them(small_engine, serve, ask, values, text):
    answer = rest(ask, serve(), values)
    assert answer.status == 400
    assert text in answer.json()["error"]


def test_bytes_behind_the_json_belong_to_an_input(small_engine, serve, ask, pair):
    server = serve()
    values = {"inputs": [tensor("near", pair[0]), tensor("far", pair[1])]}
    assert "belong to no input" in rest(ask, server, values, b"rest").json()["error"]
    for length in ("3", "-1", "x", "9" * 5000):
        answer = ask(f"{server.url}v2/models/small/infer", b"{}", Inference_Header_Content_Length=length)
        assert answer.status == 400
    assert ask(f"{server.url}v2/models/small/infer", b"{" * 100_000).status == 400
    assert ask(f"{server.url}v2/models/small/infer", b"[" * 100_000).status == 400


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(
        ["inputs", "outputs", "name", "datatype", "shape", "data", "parameters", "binary_data_size", "id"]), inner, max_size=5),
    max_leaves=20,
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(_JSON, st.binary(max_size=16))
def test_any_json_is_a_request_or_a_sentence(values, tail):
    try:
        request = inference_from(values if isinstance(values, dict) else {"inputs": values}, memoryview(tail), "small")
        for given_tensor in request.inputs:
            given_tensor.array()
        assert request.asked
    except UfaError as error:
        assert str(error)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=20), min_size=1, max_size=5), st.binary(max_size=6))
def test_elements_come_back_and_any_bytes_end_in_a_sentence(elements, noise):
    raw = Output("images", elements).raw()
    assert SentTensor("images", "BYTES", (len(elements),), raw=raw).elements() == elements
    try:
        SentTensor("images", "BYTES", (len(elements),), raw=raw + noise).elements()
    except UfaError:
        assert noise
    else:
        assert not noise


def test_nothing_is_told_of_tensors_that_nobody_looked_at(small_engine, serve, ask, pair):
    answer = rest(ask, serve(), {"inputs": [tensor("near", pair[0]), tensor("far", pair[1])]})
    report = json.loads(answer.json()["parameters"]["report"])
    assert "disagreement" not in report
    assert report["white"] == 255


def test_tensors_are_registered_and_matched_as_pictures_are(triton, sample_pair, expected, write_model):
    near, far = sample_pair[0][:120, :160], np.roll(sample_pair[1][:120, :160], 3, 1)
    answer = triton().infer(uint8(near, far), parameters={"align": "translation", "match_gain": True})
    with Fuser(write_model(), backend="onnxruntime") as fuser:
        stacked = fuse_stack(fuser, [near, far], StackOptions(align="translation", match_gain=True))
    np.testing.assert_array_equal(answer.as_numpy("fused")[0], stacked.fused)
    told = answer.get_response()
    report = told["parameters"]["report"] if isinstance(told, dict) else told.parameters["report"].string_param
    assert json.loads(report)["reference"] == "near frame"
    assert json.loads(report)["disagreement"] == round(stacked.disagreement, 4)
