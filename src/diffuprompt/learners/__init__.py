"""Prompt learners, one method per file."""
