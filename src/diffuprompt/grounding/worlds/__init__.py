"""Expressions about pictures: made worlds, and readers of data sets."""
