"""The options by which `ufa fuse`, `ufa stream` and `ufa serve` run a network, as `Fuser` takes them."""

from dataclasses import dataclass, fields
from typing import Annotated, Any

import typer

from ufafuse.commands.options import (
    ENGINE,
    BackendOption,
    CacheOption,
    MaxMemory,
    PrecisionOption,
    PreferOption,
    ProviderOption,
    Threads,
    TileOption,
)
from ufafuse.commands.quantities import megabytes_from, number_or_word


@dataclass(frozen=True, kw_only=True)
class EngineRequest:
    """What a request says of the engine."""

    backend: BackendOption = "auto"
    precision: PrecisionOption = None
    prefer: PreferOption = "quality"
    threads: Threads = None
    provider: ProviderOption = "cpu"
    cache: CacheOption = True
    max_memory: MaxMemory = None
    tile: TileOption = "auto"
    self_test: Annotated[
        bool, typer.Option("--self-test", help="First check each model on a packed pair.", rich_help_panel=ENGINE)
    ] = False


def fuser_arguments(asked: EngineRequest) -> dict[str, Any]:
    """`Fuser`'s arguments beside the model. Raises: InputError: ``--max-memory`` is no amount."""
    values = {field.name: getattr(asked, field.name) for field in fields(EngineRequest)}
    return values | {"max_memory": megabytes_from("--max-memory", asked.max_memory), "tile": number_or_word(asked.tile)}
