"""Terms that are added to the cross-entropy, one idea a file."""
