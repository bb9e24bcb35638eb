"""Ingot: train a language model, seal it, serve it."""
