"""Which images train and which test, among which names: one protocol per file."""
