"""Latency, quality, classical methods and the reports that the figures come from."""
