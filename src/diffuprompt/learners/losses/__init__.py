"""Terms that are added to the cross-entropy, one idea per file."""
