"""The Python API: one module for training, one for inference, and their parts.

A phase is imported when it is first used: loading an ingot does not import PyTorch.
"""
