"""Pictures and stacks in files: what they are, read and written with all that they say. See `source` for stacks."""
