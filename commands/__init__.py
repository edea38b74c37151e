"""The `ufa` command: what people type, made into calls of the folders. Heavy imports wait for the command that needs them."""
