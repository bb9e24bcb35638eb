"""Planning: measure the machine, predict the run, choose the recipe."""

from ingot.planning.machine import Machine, measure_machine
from ingot.planning.plan import Plan, build_seconds, plan

__all__ = ["Machine", "Plan", "build_seconds", "measure_machine", "plan"]
