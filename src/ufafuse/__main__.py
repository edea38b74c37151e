"""``python -m ufafuse``: the `ufa` command where its script is not on the path."""

from ufafuse.commands.start import main

main()
