"""The grounding study: Diff-Prompt, rivals and controls on three worlds (arXiv 2504.21423)."""
