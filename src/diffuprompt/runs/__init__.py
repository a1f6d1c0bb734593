"""What a run is made of: stages by key, where they are kept, and hashes of what goes in."""
