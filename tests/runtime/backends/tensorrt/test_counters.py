"""The time of each layer of an engine, and what the inspector knows of it."""

import json
import threading

import pytest

from ufafuse.runtime.backends.tensorrt.counters import layers_from
from ufafuse.runtime.errors import BackendError
from ufafuse.runtime.layers import Port
from ufafuse.runtime.session import open_session

CONV = {
    "Name": "conv + relu",
    "LayerType": "CaskConvolution",
    "ParameterType": "Convolution",
    "Inputs": [
        {"Name": "x", "Dimensions": [1, 16, 8, 8], "Format/Datatype": "Channel major FP16 format where channel % 8 == 0"}
    ],
    "Outputs": [{"Name": "y", "Dimensions": [1, 32, 4, 4], "Format/Datatype": "Half"}],
    "Weights": {"Type": "Half", "Count": 16 * 32 * 9},
    "TacticName": "sm86_xmma_fprop_implicit_gemm_f16f16",
}


def test_each_layer_of_each_run_is_timed_beside_frames_of_other_threads(release, engine_file, frames, world):
    path = engine_file(release, layers={"Layers": [{"Name": "mix", "LayerType": "Pointwise"}]})
    inputs, seen = frames(16, 16), []
    with open_session(path) as session:
        expected = session.run(**inputs)
        layers = session.layers(inputs, runs=3, before=lambda: seen.append(session.run(**inputs)))
        assert (session.run(**inputs) == expected).all()
    assert [(layer.name, layer.kind, layer.times_ms) for layer in layers] == [
        ("mix", "Pointwise", [1.5] * 3),
        ("average", "layer", [0.25] * 3),
    ]
    assert len(seen) == 3
    assert all((fused == expected).all() for fused in seen)


def test_threads_that_fuse_meanwhile_are_not_disturbed(release, engine_file, frames):
    with open_session(engine_file(release)) as session:
        inputs = frames(16, 16)
        expected, results = session.run(**inputs), []
        thread = threading.Thread(target=lambda: results.extend(session.run(**inputs) for _ in range(5)))
        thread.start()
        session.layers(inputs, runs=5)
        thread.join(20)
    assert len(results) == 5
    assert all((fused == expected).all() for fused in results)


def test_an_engine_without_details_still_gives_times(release, engine_file, frames, world):
    with open_session(engine_file(release)) as session:
        for answer in (None, "not json", json.dumps({"Layers": ["mix"]})):
            world.fail("create_engine_inspector" if answer is None else "get_engine_information", answer)
            layers = session.layers(frames(16, 16), runs=1)
            assert [layer.kind for layer in layers] == ["layer", "layer"]
            assert not layers[0].inputs


def test_a_profiler_that_hears_nothing_is_an_error(release, engine_file, frames, world):
    with open_session(engine_file(release)) as session:
        world.fail("report_layer_time", [])
        with pytest.raises(BackendError, match="told no layer's time"):
            session.layers(frames(16, 16), runs=1)
        session.run(**frames(16, 16))


def test_a_closed_session_has_no_layers(release, engine_file, frames):
    session = open_session(engine_file(release))
    session.close()
    with pytest.raises(BackendError, match="was closed"):
        session.layers(frames(16, 16), runs=1)


def test_what_the_inspector_says_of_a_convolution():
    (layer,) = layers_from([{"conv + relu": 0.5}, {"conv + relu": 0.3}, {"conv + relu": 0.4}], {"conv + relu": CONV})
    assert (layer.kind, layer.kernel, layer.ms) == ("Convolution", "sm86_xmma_fprop_implicit_gemm_f16f16", 0.4)
    assert layer.inputs == [Port((1, 16, 8, 8), "fp16")]
    assert layer.outputs == [Port((1, 32, 4, 4), "fp16")]
    assert layer.operations == 2 * 16 * 32 * 9 * 4 * 4
    assert layer.outputs[0].bytes == 2 * 32 * 4 * 4
