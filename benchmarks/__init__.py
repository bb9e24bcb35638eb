"""Benchmarks against peers and against the machine's limits, one command each."""
