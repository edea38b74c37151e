"""The networks that the paper's tables compare with, each from its own paper's description; one file a method.

Importing this loads nothing; `ufafuse.network.rivals.made.build_rival` makes a network.
"""
