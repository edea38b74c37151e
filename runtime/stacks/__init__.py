"""Whole stacks, frame by frame: the network that gathers, octaves, registration in the order of focus, and height maps."""
