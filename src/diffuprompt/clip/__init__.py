"""Frozen CLIP towers that take prompts as arguments, and everything a checkpoint brings along."""
