"""The options by which `ufa fuse`, `ufa stream` and `ufa serve` run a network, as `Fuser` takes them."""

from typing import Any, Protocol

from ufafuse.commands.quantities import megabytes_from, number_or_word


class EngineRequest(Protocol):
    """What a request says of the engine; see the options of these names."""

    @property
    def backend(self) -> str: ...  # noqa: D102
    @property
    def precision(self) -> str | None: ...  # noqa: D102
    @property
    def prefer(self) -> str: ...  # noqa: D102
    @property
    def provider(self) -> str: ...  # noqa: D102
    @property
    def threads(self) -> int | None: ...  # noqa: D102
    @property
    def cache(self) -> bool: ...  # noqa: D102
    @property
    def max_memory(self) -> str | None: ...  # noqa: D102
    @property
    def tile(self) -> str: ...  # noqa: D102
    @property
    def self_test(self) -> bool: ...  # noqa: D102


def fuser_arguments(asked: EngineRequest) -> dict[str, Any]:
    """`Fuser`'s arguments beside the model. Raises: InputError: ``--max-memory`` is no amount."""
    return {
        "backend": asked.backend,
        "precision": asked.precision,
        "prefer": asked.prefer,
        "provider": asked.provider,
        "threads": asked.threads,
        "cache": asked.cache,
        "max_memory": megabytes_from("--max-memory", asked.max_memory),
        "tile": number_or_word(asked.tile),
        "self_test": asked.self_test,
    }
