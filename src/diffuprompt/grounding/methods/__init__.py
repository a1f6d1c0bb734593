"""Methods that adapt a frozen detector: Diff-Prompt, its rivals."""
