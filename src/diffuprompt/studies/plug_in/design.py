"""What the plug-in study compares and varies, as in its paper (arXiv 2410.20164)."""

from __future__ import annotations

LEARNERS = ("coop", "cocoop", "vpt", "maple", "promptsrc", "coprompt")
FOCUS = ("cocoop",)  # whose rivals and sweeps the paper shows (Table 4, figure 5)
DIFFUSION = "diffusion"
DECIDING = ("regression", "shuffled")  # the controls above which a gain counts
NFE = (1, 2, 3, 5, 10, 25, 100)
STEPS = tuple(range(1, 11))  # overfitting iterations, at one rate; 0 is the learner's own prompts
