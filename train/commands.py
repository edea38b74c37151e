"""Commands of this folder."""

import typer


def register(app: typer.Typer) -> None:
    """Add this folder's commands to ``app``."""
