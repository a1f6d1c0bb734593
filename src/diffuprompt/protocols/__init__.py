"""What is trained and scored on which images: jobs, stages, metrics, records."""
