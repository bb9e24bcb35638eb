"""Low-rank adapters, in memory and on disk."""
