"""Pictures and figures over HTTP."""
