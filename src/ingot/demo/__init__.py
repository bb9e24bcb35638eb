"""``ingot demo``: all stages from text to a served model, one after another."""

from ingot.demo.run_demo import run_demo

__all__ = ["run_demo"]
