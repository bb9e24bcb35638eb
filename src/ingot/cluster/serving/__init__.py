"""Serving on several machines: Ray Serve's replicas of the engine behind one HTTP application."""
