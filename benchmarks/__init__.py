"""Measurements; each module says what it compares and how to run it."""
