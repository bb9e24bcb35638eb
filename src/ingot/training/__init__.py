"""Phase 1: train a model on text, conversations or preferences."""
