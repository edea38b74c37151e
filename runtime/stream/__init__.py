"""Live fusion: sources, pairing, the pipeline and sinks."""
