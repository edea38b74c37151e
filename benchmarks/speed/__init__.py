"""How fast a fusion is: against the paper's time, the machine's own limit, and the other ways to run the same network."""
