"""What `ufa stream` fuses with."""

import pytest

from ufafuse.runtime import precision
from ufafuse.runtime.stream.live_fuser import LiveFuser, LiveFuserOptions


@pytest.mark.parametrize("prefer", ["quality", "speed"])
def test_the_engine_opens_the_int8_file_for_speed(prefer, monkeypatch):
    pytest.importorskip("openvino")
    monkeypatch.setattr(precision, "multiplies_bytes", lambda: True)
    with LiveFuser(
        LiveFuserOptions(arguments={"backend": "openvino", "prefer": prefer}), wants_map=lambda: False, report=print
    ) as fuser:
        assert fuser.to_json()["precision"].startswith("int8") == (prefer == "speed")
