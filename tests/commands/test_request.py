"""A command made of a dataclass, and the choices that it offers."""

from dataclasses import dataclass
from typing import Annotated, Any, get_args

import pytest
import typer
from typer.testing import CliRunner

from ufafuse.commands import build, calibrate, export, stream, train
from ufafuse.commands import options as shared
from ufafuse.commands.request import as_command, given


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the command is for."""

    name: Annotated[str, typer.Argument(help="Whose.")]
    size: Annotated[int | None, typer.Option(min=1, help="How large.")] = None
    words: Annotated[list[str] | None, typer.Option("--word")] = None


def test_a_dataclass_becomes_a_command() -> None:
    seen: list[Any] = []
    app = typer.Typer()
    app.command()(as_command(lambda asked, context: seen.append((asked, context.info_name)), Asked, context=typer.Context))
    page = CliRunner().invoke(app, ["--help"]).stdout
    assert "What the command is for." in page
    assert "How large." in page
    assert CliRunner().invoke(app, ["x", "--size", "0"]).exit_code == 2
    assert CliRunner().invoke(app, ["x", "--size", "3", "--word", "a", "--word", "b"]).exit_code == 0
    (asked, _) = seen.pop()
    assert asked == Asked(name="x", size=3, words=["a", "b"])
    assert given(asked) == {"name": "x", "size": 3, "words": ["a", "b"]}
    assert given(Asked(name="x", words=[])) == {"name": "x"}


def choices() -> list[tuple[Any, tuple[str, ...]]]:
    """What a command offers, and what the library takes."""
    from ufafuse.calibration.ranges import RANGE_METHODS
    from ufafuse.export import build_options, onnx_export
    from ufafuse.network.init import INITS
    from ufafuse.network.spec import ATTENTIONS
    from ufafuse.runtime.backends.ort_providers import PROVIDERS
    from ufafuse.runtime.backends.tensorrt.vendor import FLAVORS
    from ufafuse.runtime.registration.align import MOTIONS
    from ufafuse.runtime.session import BACKENDS, PRECISIONS
    from ufafuse.runtime.stream import options
    from ufafuse.train.part import PARTS
    from ufafuse.train.recipe import RECIPES

    return [
        (shared.Backend, BACKENDS),
        (shared.Precision, PRECISIONS),
        (shared.Provider, tuple(PROVIDERS)),
        (shared.Align, ("off", *MOTIONS)),
        (export.ExportPrecision, onnx_export.PRECISIONS),
        (export.Io, onnx_export.IOS),
        (build.Flavor, FLAVORS),
        (build.Hardware, build_options.HARDWARE),
        (calibrate.Calibrator, RANGE_METHODS),
        (stream.PairBy, options.PAIR_BY),
        (stream.AlternateBy, options.ALTERNATE_BY),
        (stream.WhenLate, (options.AUTO, *options.WHEN_LATE)),
        (train.RecipeName, tuple(RECIPES)),
        (train.AttentionName, ATTENTIONS),
        (train.InitName, INITS),
        (train.PartName, PARTS),
    ]


def test_commands_offer_what_the_library_takes() -> None:
    pytest.importorskip("torch")
    for offered, taken in choices():
        assert set(get_args(offered)) == set(taken)
