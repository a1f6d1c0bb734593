"""The engine: seeds, files, progress, optimisers and the one training loop; it knows no models."""
