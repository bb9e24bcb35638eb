"""The lesson's text and the file of its figures, shared by the terminal and the page."""

from ingot.lesson_content.content import (
    Content,
    FrozenWeightExample,
    GuardrailExample,
    OneWeight,
    Question,
    Section,
    SystemDesign,
    Term,
    marked,
    read_content,
    read_content_tables,
    terms_in,
    without_marks,
)
from ingot.lesson_content.record_file import RECORD_VERSION, record_path

__all__ = [
    "RECORD_VERSION",
    "Content",
    "FrozenWeightExample",
    "GuardrailExample",
    "OneWeight",
    "Question",
    "Section",
    "SystemDesign",
    "Term",
    "marked",
    "read_content",
    "read_content_tables",
    "record_path",
    "terms_in",
    "without_marks",
]
