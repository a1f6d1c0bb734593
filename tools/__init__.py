"""Recipes that make what the package bundles; not installed with it."""
