"""The run folder: run metadata, checkpoints and trained weights on disk."""
