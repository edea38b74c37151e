"""Fused focus stacks: what they keep of their frames' detail, how close they are to the truth, and a page to look at."""
