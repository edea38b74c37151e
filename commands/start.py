"""The console entry point: what comes before the command line itself is imported."""

import os
import sys

from ufafuse.commands.ending import endable


def main() -> None:
    """Run `ufa`; an interrupt while its modules are imported is no traceback."""
    try:
        from ufafuse.runtime.starting import unswept
    except ImportError as error:
        if os.name != "nt":
            raise
        if "--json" in sys.argv:
            sys.stdout.write(f'{{"ok": false, "error": "{error}"}}\n')
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(2) from None
    with unswept(), endable():
        from ufafuse.commands import cli
    cli.main()
