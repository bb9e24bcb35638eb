"""Console and prompter of a lesson."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.text import Text

from ingot.lesson.terminal.prompter import Prompter

_WIDEST = 88  # columns; longer lines tire the eye


@dataclass(frozen=True)
class Display:
    """A console and a prompter. Text of a model is printed as it is, never as markup."""

    console: Console
    prompter: Prompter

    def title(self, text: str) -> None:
        """Begin a part."""
        self.console.print()
        self.console.print(Text(text, style="bold dark_orange"))

    def say(self, paragraphs: Iterable[str]) -> None:
        """Print paragraphs, wrapped."""
        width = min(_WIDEST, self.console.width)
        for paragraph in paragraphs:
            self.console.print()
            self.console.print(Text(paragraph), width=width)

    def line(self, text: str, style: str = "") -> None:
        """Print one line, indented."""
        self.console.print(Padding(Text(text, style=style), (0, 0, 0, 2)))

    def show(self, what: RenderableType) -> None:
        """Print a table, indented."""
        self.console.print()
        self.console.print(Padding(what, (0, 0, 0, 2), expand=False))
        self.console.print()
