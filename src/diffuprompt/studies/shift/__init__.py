"""The study under shift: whether diffusion makes prompts robust (arXiv 2410.20164, section 5)."""
