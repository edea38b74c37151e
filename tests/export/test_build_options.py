"""What a builder can be asked for."""

import pytest

from ufafuse.export.build_options import BuildOptions
from ufafuse.export.profiles import Profile
from ufafuse.runtime.errors import InputError

ONE = (Profile.static((64, 64)),)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"profiles": ()}, "no profile"),
        ({"flavor": "openvino"}, "flavor=openvino"),
        ({"hardware": "turing"}, "hardware=turing"),
        ({"workspace_mib": 0}, "workspace_mib=0"),
        ({"optimization_level": 6}, "optimization_level=6"),
    ],
)
def test_values_that_no_builder_takes_are_refused(options, what):
    with pytest.raises(InputError, match=what):
        BuildOptions(**{"profiles": ONE, **options})


def test_they_are_written_into_manifests():
    assert BuildOptions(ONE, workspace_mib=64).to_dict()["profiles"] == [
        {"min": [64, 64], "opt": [64, 64], "max": [64, 64], "batch": [1, 1, 1]}
    ]
