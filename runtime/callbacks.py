"""The default of callbacks."""


def ignored(*_told: object) -> None:
    """Nobody wants to know."""
