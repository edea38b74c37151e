"""``python -m ufafuse``: the `ufa` command where its script is not on the path."""

from ufafuse.runtime.cli import main

main()
