"""Grounding jobs: a method for a frozen detector, trained and scored on expressions."""
