"""Training objectives: pretraining, supervised fine-tuning and preference optimisation."""

from ingot.training.data.conversations import Examples, read_examples
from ingot.training.data.preference_pairs import Pairs, read_pairs
from ingot.training.objectives.base import Batch, Objective
from ingot.training.objectives.fine_tuning import FineTuning
from ingot.training.objectives.preference import Preference, PreferenceBatch
from ingot.training.objectives.pretraining import Pretraining
from ingot.training.objectives.start import Start, start_from

__all__ = [
    "Batch",
    "Examples",
    "FineTuning",
    "Objective",
    "Pairs",
    "Preference",
    "PreferenceBatch",
    "Pretraining",
    "Start",
    "read_examples",
    "read_pairs",
    "start_from",
]
