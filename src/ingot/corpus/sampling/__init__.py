"""Batch sampling: the order in which training sees the sequences of a corpus."""
