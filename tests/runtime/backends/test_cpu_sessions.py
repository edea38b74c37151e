"""What ONNX Runtime and OpenVINO have in common: results, threads, closing, errors."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from ufafuse.runtime.errors import BackendError, InputError, ModelError
from ufafuse.runtime.session import SessionOptions, open_session

BACKENDS = ("onnxruntime", "openvino")
SIZES = [(16, 16), (33, 47), (64, 20), (1, 1), (25, 31)]


@pytest.fixture(params=BACKENDS)
def backend(request):
    pytest.importorskip(request.param)
    return request.param


@pytest.fixture(params=[False, True], ids=["", "lean"])
def options(request):
    return SessionOptions(threads=1, lean=request.param)


def expected(inputs):
    return inputs["near"] / 4 + 3 * inputs["far"] / 4


def test_sizes_and_batches_come_and_go(backend, options, tiny_onnx, frames):
    with open_session(tiny_onnx, backend=backend, options=options) as session:
        for height, width in SIZES * 2:
            inputs = {name: np.repeat(array, 2, axis=0) for name, array in frames(height, width).items()}
            result = session.run_with_map(**inputs)
            np.testing.assert_allclose(result.fused, expected(inputs), atol=1e-6)
            np.testing.assert_allclose(result.map, inputs["near"].mean(1, keepdims=True), atol=1e-6)
            assert result.fused.dtype == result.map.dtype == np.float32


def test_views_of_larger_frames_are_taken_as_they_are(backend, options, tiny_onnx, frames):
    with open_session(tiny_onnx, backend=backend, options=options) as session:
        whole = frames(40, 40)
        inputs = {name: array[:, ::-1, 3:30, 5:38:2] for name, array in whole.items()}
        np.testing.assert_allclose(session.run(**inputs), expected(inputs), atol=1e-6)


def test_results_are_the_callers_own(backend, options, tiny_onnx, frames):
    with open_session(tiny_onnx, backend=backend, options=options) as session:
        first = session.run(**frames(seed=1))
        kept = first.copy()
        for seed in range(2, 6):
            session.run(**frames(seed=seed))
        np.testing.assert_array_equal(first, kept)
        first[...] = 0
        np.testing.assert_allclose(session.run(**frames(seed=1)), kept)


def test_one_session_serves_many_threads(backend, options, tiny_onnx, frames):
    with open_session(tiny_onnx, backend=backend, options=options) as session, ThreadPoolExecutor(4) as pool:

        def work(seed):
            inputs = frames(*SIZES[seed % len(SIZES)], seed=seed)
            return np.abs(session.run(**inputs) - expected(inputs)).max()

        assert max(pool.map(work, range(60))) < 1e-6


def test_closing_twice_and_using_it_afterwards(backend, options, tiny_onnx, frames):
    session = open_session(tiny_onnx, backend=backend, options=options)
    session.run(**frames())
    session.close()
    session.close()
    with pytest.raises(BackendError, match="closed"):
        session.run(**frames())


def test_what_does_not_fit_the_graph_is_one_clear_line_and_the_session_goes_on(backend, options, tiny_onnx, frames):
    with open_session(tiny_onnx, backend=backend, options=options) as session:
        good = frames()
        for inputs in [
            {"near": good["near"]},
            {**good, "far": frames(20, 20)["far"]},
            {**good, "far": good["far"][0]},
            {name: (array * 255).astype(np.int16) for name, array in good.items()},
            {**good, "far": (good["far"] * 255).astype(np.uint8)},
            {"near": good["near"], "other": good["far"]},
        ]:
            with pytest.raises(BackendError) as caught:
                session.infer(inputs)
            assert "\n" not in str(caught.value)
        np.testing.assert_allclose(session.run(**good), expected(good), atol=1e-6)


def test_a_precision_that_cannot_be_had_says_what_to_do(backend, tiny_onnx):
    for precision in ("fp16", "int8"):
        with pytest.raises(BackendError, match=r"use|give|ufa calibrate"):
            open_session(tiny_onnx, backend=backend, options=SessionOptions(precision=precision))


def test_a_graph_that_the_engine_cannot_load(backend, tiny_onnx, tmp_path):
    onnx = pytest.importorskip("onnx")
    model = onnx.load(tiny_onnx)
    model.graph.node[0].op_type = "NoSuchOperator"
    broken = tmp_path / "broken.onnx"
    onnx.save(model, broken)
    with pytest.raises((ModelError, BackendError), match="NoSuchOperator") as caught:
        open_session(broken, backend=backend).run(**{name: np.zeros((1, 3, 8, 8), np.float32) for name in ("near", "far")})
    assert "\n" not in str(caught.value)


def test_a_cpu_session_takes_no_engine(backend, release, engine_file):
    with pytest.raises(BackendError, match="omit `backend`"):
        open_session(engine_file(release), backend=backend)


def test_threads_must_be_there(backend, tiny_onnx):
    with pytest.raises(InputError, match="threads=0"):
        open_session(tiny_onnx, backend=backend, options=SessionOptions(threads=0))


def test_pinned_threads_give_the_same(backend, tiny_onnx, frames):
    inputs = frames()
    with open_session(tiny_onnx, backend=backend, options=SessionOptions(threads=2, pin=True)) as session:
        np.testing.assert_allclose(session.run(**inputs), expected(inputs), atol=1e-6)


def test_another_byte_order_is_refused_and_not_misread(backend, options, tiny_onnx, frames):
    with open_session(tiny_onnx, backend=backend, options=options) as session:
        given = frames()
        with pytest.raises(BackendError, match="near is >f4, in another byte order than this machine's"):
            session.run(given["near"].astype(">f4"), given["far"])
        with pytest.raises(BackendError, match="near is a list: give a NumPy array"):
            session.run(given["near"].tolist(), given["far"])


def test_damaged_bytes_are_a_sentence_and_no_words_on_stdout(backend, tiny_onnx, tmp_path, capfd):
    whole, refused = tiny_onnx.read_bytes(), []
    for at in range(0, len(whole), 3):
        (tmp_path / "x.onnx").write_bytes(whole[:at] + b"\xff" + whole[at + 1 :])
        try:
            open_session(tmp_path / "x.onnx", backend=backend, options=SessionOptions(threads=1)).close()
        except (ModelError, BackendError) as error:
            refused.append(str(error))
    assert len(refused) > 20
    assert all("x.onnx" in text for text in refused)
    assert capfd.readouterr().out == ""
