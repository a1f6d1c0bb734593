"""The command line: one file a verb, no maths; nothing heavy is imported before a verb runs."""
