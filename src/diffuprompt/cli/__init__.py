"""The command line: one file per verb, no maths; nothing heavy is imported before a verb runs."""
