"""HTTP in: what Optimove and monitoring call."""
