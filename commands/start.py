"""The console entry point: what comes before the command line itself is imported."""

from ufafuse.commands.ending import endable
from ufafuse.runtime.starting import unswept


def main() -> None:
    """Run `ufa`; an interrupt while its modules are imported is no traceback."""
    with unswept(), endable():
        from ufafuse.commands import cli
    cli.main()
