"""The recipe: every setting of a training run, importable without PyTorch."""
