"""Other engines, each in an environment of its own, asked the same as ours.

``python -m benchmarks.peers install [NAME ...]`` makes the environments under ``.peers/``.
"""
