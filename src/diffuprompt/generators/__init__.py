"""Models of prompts given an image: overfitting, prompt diffusion, controls."""
