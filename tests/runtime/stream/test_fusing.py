"""What `ufa stream` fuses with."""

import pytest

from ufafuse.runtime import precision
from ufafuse.runtime.stream.fusing import Engine, EngineOptions


@pytest.mark.parametrize("prefer", ["quality", "speed"])
def test_the_engine_opens_the_int8_file_for_speed(prefer, monkeypatch):
    pytest.importorskip("openvino")
    monkeypatch.setattr(precision, "multiplies_bytes", lambda: True)
    with Engine(
        EngineOptions(fuser={"backend": "openvino", "prefer": prefer}), wants_map=lambda: False, report=print
    ) as engine:
        assert engine.to_json()["precision"].startswith("int8") == (prefer == "speed")
