"""The console entry point: what comes before the command line itself is imported."""

import os
import sys

from ufafuse.commands.ending import endable
from ufafuse.runtime.starting import unswept

_NOT_HERE = "ufafuse runs on Linux: on Windows, install and run it inside WSL."


def main() -> None:
    """Run `ufa`; an interrupt while its modules are imported is no traceback."""
    if os.name == "nt":  # where not even the imports below succeed
        if "--json" in sys.argv:
            sys.stdout.write(f'{{"ok": false, "error": "{_NOT_HERE}"}}\n')
        sys.stderr.write(f"error: {_NOT_HERE}\n")
        raise SystemExit(2)
    with unswept(), endable():
        from ufafuse.commands import cli
    cli.main()
