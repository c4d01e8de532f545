"""What makes the journey happen: groups, jobs, the running system."""
