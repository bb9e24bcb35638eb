"""Capacity of an engine: traffic replayed through the scheduler on a simulated clock."""
