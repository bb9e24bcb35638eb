"""A request and its answer: validation, sampling state, stop conditions and output."""
