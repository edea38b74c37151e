"""What `ufa bench` times when it is told nothing."""

from ufafuse.commands.bench import _bundled_files
from ufafuse.runtime.models import DEFAULT, bundled


def test_every_bundled_network_the_default_one_first():
    files = _bundled_files()
    assert {path.stem.removesuffix("-int8") for path in files} == set(bundled())
    assert [path.stem for path in files[:2]] == [DEFAULT, f"{DEFAULT}-int8"]
    assert all(path.is_file() for path in files)
