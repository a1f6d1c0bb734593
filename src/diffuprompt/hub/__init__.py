"""Artifacts that load anywhere, and the classifier made of one."""
