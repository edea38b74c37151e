"""Is this model on this machine what it was when it was made? Cases to run, tolerances to judge by, a self-test."""
