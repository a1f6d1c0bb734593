"""Detectors: frozen grounding models that take adaptations as explicit arguments."""
