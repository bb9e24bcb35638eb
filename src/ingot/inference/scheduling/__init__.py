"""Continuous batching: the scheduler, the paged KV cache, prefix reuse and speculation."""
