"""What a paper's table is made of: its jobs and its layout."""
