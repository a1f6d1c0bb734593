"""Many jobs, some at a time."""
