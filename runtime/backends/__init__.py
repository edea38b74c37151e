"""One file for each inference engine."""
