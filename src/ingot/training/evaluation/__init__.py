"""Judging a model: its loss on text, its choices, its writing."""
