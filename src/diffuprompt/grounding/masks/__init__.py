"""Masks from pictures and captions: the Mask-VAE and the latent prompt generator."""
