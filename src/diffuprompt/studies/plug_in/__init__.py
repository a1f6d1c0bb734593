"""The plug-in study: what prompt diffusion adds to each learner (arXiv 2410.20164, section 5)."""
