"""CUDA graphs: captured per shape with classic TensorRT where cuda-python is installed, by itself with TensorRT-RTX."""

import numpy as np
import pytest

from ufafuse.runtime.backends.tensorrt.lanes import MOST_GRAPHS
from ufafuse.runtime.session import open_session


def expected(inputs):
    return inputs["near"] / 4 + 3 * inputs["far"] / 4


def test_the_best_size_of_each_profile_is_captured_while_loading(classic, with_graphs, engine_file, frames, world):
    path = engine_file(classic, profiles=[[[16, 16], [32, 48], [64, 64]], [[16, 16], [96, 96], [128, 128]]])
    with open_session(path) as session:
        assert world.calls.count("cuStreamBeginCapture") == 4  # two lanes, two profiles
        enqueued = world.calls.count("execute_async_v3")
        for seed in range(4):
            for size in [(32, 48), (96, 96)]:
                inputs = frames(*size, seed=seed)
                np.testing.assert_allclose(session.run(**inputs), expected(inputs), atol=1e-6)
        assert world.calls.count("cuGraphLaunch") == 8
        assert world.calls.count("execute_async_v3") == enqueued


def test_another_size_is_captured_when_it_comes_a_second_time(classic, with_graphs, engine_file, frames, world):
    with open_session(engine_file(classic)) as session:
        captures = []
        for seed in range(4):
            inputs = frames(24, 24, seed=seed)
            np.testing.assert_allclose(session.run(**inputs), expected(inputs), atol=1e-6)
            captures.append(world.calls.count("cuStreamBeginCapture") - 2)
        assert captures == [0, 1, 1, 1]


def test_graphs_are_bounded_and_the_oldest_goes(classic, with_graphs, engine_file, frames, world):
    with open_session(engine_file(classic)) as session:
        for size in range(16, 16 + 4 * (MOST_GRAPHS + 2), 4):
            for seed in range(3):
                inputs = frames(size, size, seed=seed)
                np.testing.assert_allclose(session.run(**inputs), expected(inputs), atol=1e-6)
        assert world.live()["graph"] == 2 * (MOST_GRAPHS + 1)  # a graph and its executable; the other lane has one


def test_graphs_with_old_addresses_go_when_buffers_grow(classic, with_graphs, engine_file, frames, world):
    with open_session(engine_file(classic)) as session:
        for size in [(32, 48), (64, 64), (32, 48), (32, 48), (64, 64), (64, 64), (32, 48)]:
            inputs = frames(*size, seed=size[0])
            np.testing.assert_allclose(session.run(**inputs), expected(inputs), atol=1e-6)


@pytest.mark.parametrize("answer", [901, RuntimeError("Failed to get cuGetProcAddress_v2")])
@pytest.mark.parametrize("call", ["cuStreamBeginCapture", "cuStreamEndCapture", "cuGraphInstantiate"])
def test_what_cannot_be_captured_runs_without_and_says_so(classic, with_graphs, engine_file, frames, world, call, answer):
    world.fail(call, answer)
    with open_session(engine_file(classic)) as session:
        assert f"no CUDA graphs: {call} failed" in session.why
        assert str(answer) in session.why
        inputs = frames()
        np.testing.assert_allclose(session.run(**inputs), expected(inputs), atol=1e-6)
        assert "cuGraphLaunch" not in world.calls


def test_a_run_that_fails_inside_the_capture_ends_it(classic, with_graphs, engine_file, frames, world):
    begin = with_graphs.cuStreamBeginCapture

    def and_then_fail(*arguments):
        world.fail("execute_async_v3", False)
        return begin(*arguments)

    with_graphs.cuStreamBeginCapture = and_then_fail
    with open_session(engine_file(classic)) as session:
        assert "no CUDA graphs" in session.why
        inputs = frames()
        np.testing.assert_allclose(session.run(**inputs), expected(inputs), atol=1e-6)


def test_without_cuda_python_nothing_is_captured(classic, engine_file, frames, world):
    with open_session(engine_file(classic)) as session:
        session.run(**frames())
        assert not [call for call in world.calls if call.startswith("cu") and "Graph" in call]
        assert "graph" not in session.why


def test_rtx_captures_by_itself_and_never_changes_kernels_on_the_way(rtx, with_graphs, engine_file, frames, world):
    with open_session(engine_file(rtx)) as session:
        session.run(**frames())
        config = session._engine._config
        assert config.cuda_graph_strategy == "whole"
        assert config.dynamic_shapes_kernel_specialization_strategy == "eager"
        assert "cuStreamBeginCapture" not in world.calls
