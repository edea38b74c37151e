"""Making frames comparable: how one lies to another, how much brighter it is, where both can be trusted."""
