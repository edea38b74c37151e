"""Weights of the networks that ufafuse compares with; `ufafuse.network.rivals` finds them here."""
