"""Prompt learners, one method a file."""
