"""Stages of a grounding job: expressions, Mask-VAE, mask generator, maps, method, score."""
