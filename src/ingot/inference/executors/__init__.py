"""Executors: the native C++ core and PyTorch, which run the model for one step of a batch."""
