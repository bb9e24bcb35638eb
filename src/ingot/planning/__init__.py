"""Planning: measure the machine, predict the run, choose the recipe."""

from ingot.planning.budget import parse_seconds
from ingot.planning.machine import Machine, measure_machine
from ingot.planning.plan import Choice, Plan, plan

__all__ = ["Choice", "Machine", "Plan", "measure_machine", "parse_seconds", "plan"]
