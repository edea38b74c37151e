"""What `ufa stream` fuses with."""

import pytest

from ufafuse.runtime import precision
from ufafuse.runtime.stream.fusing import Engine, EngineOptions


def test_the_engine_opens_the_int8_file(monkeypatch):
    pytest.importorskip("openvino")
    monkeypatch.setattr(precision, "multiplies_bytes", lambda: True)
    with Engine(EngineOptions(fuser={"backend": "openvino"}), wants_map=lambda: False, report=print) as engine:
        assert engine.to_json()["precision"].startswith("int8")
