"""What a run is made of: learner, overfitted prompts, generator, scores."""
