"""Sessions that several threads use at once: how many streams, and that results do not change."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import numpy as np
import pytest

from ufafuse.runtime.backends import onnxruntime as ort_backend
from ufafuse.runtime.backends.crowd import Crowd
from ufafuse.runtime.cores import usable_cores
from ufafuse.runtime.errors import BackendError, InputError
from ufafuse.runtime.session import SessionOptions, open_session


def together(crowd, count):
    """``count`` runs that are all under way at once: the streams of the last."""
    with ExitStack() as running:
        return [running.enter_context(crowd.entered()) for _ in range(count)][-1]


def test_a_lone_thread_has_all_cores():
    crowd = Crowd(None, 8)
    assert {together(crowd, 1) for _ in range(20)} == {1}
    assert not crowd.seen


def test_two_that_meet_by_accident_are_no_crowd():
    crowd = Crowd(None, 8)
    assert together(crowd, 2) == 1
    for _ in range(16):
        together(crowd, 1)
    assert together(crowd, 2) == 1
    assert not crowd.seen


@pytest.mark.parametrize(("threads", "cores", "streams"), [(2, 8, 2), (3, 8, 4), (4, 8, 4), (7, 8, 8), (12, 8, 8), (9, 1, 1)])
def test_as_many_streams_as_threads_up_to_the_cores(threads, cores, streams):
    crowd = Crowd(None, cores)
    for _ in range(4):
        found = together(crowd, threads)
    assert found == streams


def test_a_crowd_that_goes_gives_the_cores_back():
    crowd = Crowd(None, 4)
    for _ in range(4):
        together(crowd, 2)
    assert crowd.seen
    assert [together(crowd, 1) for _ in range(17)][-1] == 1
    assert not crowd.seen


def test_what_was_asked_for_stays():
    crowd = Crowd(3, 8)
    assert together(crowd, 1) == together(crowd, 9) == crowd.at_first == 3


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("streams", [None, 1, 2, 3])
def test_threads_get_the_results_of_one(backend, streams, tiny_onnx, frames):
    pytest.importorskip(backend)
    options = SessionOptions(threads=4, streams=streams)
    with open_session(tiny_onnx, backend=backend, options=options) as session, ThreadPoolExecutor(6) as pool:
        inputs = [frames(40 + 8 * (seed % 2), 48, seed=seed) for seed in range(60)]
        for given, fused in zip(inputs, pool.map(lambda given: session.run(**given), inputs), strict=True):
            np.testing.assert_allclose(fused, given["near"] / 4 + 3 * given["far"] / 4, atol=1e-6)


def test_openvino_shares_its_threads_out_among_several_at_once(tiny_onnx, frames):
    pytest.importorskip("openvino")
    if usable_cores() < 2:
        pytest.skip("there is one core")
    with open_session(tiny_onnx, backend="openvino", options=SessionOptions(threads=2)) as session:
        given = frames(64, 64)
        session.run(**given)
        with session._crowd.entered():
            for _ in range(3):
                session.run(**given)
        streams = {task[2]: found._compiled.get_property("NUM_STREAMS") for task, found in session._by_task.items()}
    assert streams == {1: 1, 2: 2}


def test_under_a_memory_budget_there_is_one_network_a_size(tiny_onnx, frames):
    pytest.importorskip("openvino")
    with (
        open_session(tiny_onnx, backend="openvino", options=SessionOptions(lean=True)) as session,
        ThreadPoolExecutor(4) as pool,
    ):
        list(pool.map(lambda _: session.run(**frames()), range(20)))
        assert len(session._by_task) == 1


@pytest.mark.parametrize(("threads", "streams", "sessions", "each"), [(4, 2, 2, 2), (4, 4, 1, 1), (2, 4, 1, 1), (6, 2, 2, 3)])
def test_onnx_runtime_has_a_pool_for_each_stream(threads, streams, sessions, each, tiny_onnx):
    pytest.importorskip("onnxruntime")
    options = SessionOptions(threads=threads, streams=streams)
    assert ort_backend._settings(options).intra_op_num_threads == each
    with open_session(tiny_onnx, backend="onnxruntime", options=options) as session:
        assert (session._free.qsize() if session._free else 1) == sessions


def test_pinning_several_streams_to_the_same_cores_is_refused(tiny_onnx):
    pytest.importorskip("onnxruntime")
    with pytest.raises(BackendError, match="to the same cores"):
        open_session(tiny_onnx, backend="onnxruntime", options=SessionOptions(threads=4, streams=2, pin=True))


def test_no_streams_are_refused(tiny_onnx):
    with pytest.raises(InputError, match=r"`streams=0` is too few"):
        open_session(tiny_onnx, options=SessionOptions(streams=0))


def test_an_engine_has_a_lane_for_each_stream(release, engine_file, frames):
    with open_session(engine_file(release), options=SessionOptions(streams=3)) as session, ThreadPoolExecutor(5) as pool:
        assert session._idle.qsize() == 3
        given = frames(16, 16)
        expected = session.run(**given)
        assert all((fused == expected).all() for fused in pool.map(lambda _: session.run(**given), range(20)))
