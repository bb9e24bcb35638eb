"""Python API: training and inference, one module for each phase.

A phase is imported when it is first used: loading an ingot does not import PyTorch.
"""
