"""The console entry point: what comes before the command line itself is imported."""

import os
import sys
from typing import NoReturn

from ufafuse.commands.ending import endable


def main() -> None:
    """Run `ufa`; an interrupt while its modules are imported is no traceback."""
    try:
        from ufafuse.runtime.starting import cut_short, unswept
    except ImportError as error:
        if os.name != "nt":
            raise
        _refuse(str(error))
    try:
        with unswept(), endable():
            from ufafuse.commands import cli
        cli.main()
    except (EOFError, ValueError, TypeError) as error:
        text = cut_short(error)
        if text is None:
            raise
        _refuse(text)


def _refuse(text: str) -> NoReturn:
    """Say why nothing can be run here, and end."""
    import json

    if "--json" in sys.argv:
        sys.stdout.write(json.dumps({"ok": False, "error": text}) + "\n")
    sys.stderr.write(f"error: {text}\n")
    raise SystemExit(2)
