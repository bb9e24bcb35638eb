"""Console and prompter of a lesson."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ingot.lesson.experiments.machine_load import Measured
from ingot.lesson.terminal.prompter import GLOSSARY, Prompter
from ingot.lesson_content import Content, terms_in, without_marks

_WIDEST = 88  # columns; longer lines tire the eye


@dataclass(frozen=True)
class Display:
    """A console and a prompter. Text of a model is printed as it is, never as markup."""

    console: Console
    prompter: Prompter
    content: Content

    def pause(self, what: str) -> None:
        """Wait until the reader continues, who may ask for the glossary first."""
        while self.prompter.pause(what) == GLOSSARY:
            self.glossary()

    def title(self, text: str, progress: str = "") -> None:
        """Begin a part."""
        self.console.print()
        line = Text(text, style="bold dark_orange")
        if progress:
            line = Text(f"{progress}  ", style="dim") + line
        self.console.print(line)

    def say(self, paragraphs: Iterable[str]) -> None:
        """Print paragraphs, wrapped; each term that one explains follows it with its meaning."""
        for paragraph in paragraphs:
            self.console.print()
            self.console.print(Text(without_marks(paragraph)), width=self._width)
            for form in terms_in(paragraph):
                term = self.content.term(form)
                meaning = Text(term.name, style="bold") + Text(f": {term.text}", style="dim")
                self.console.print(Padding(meaning, (0, 0, 0, 4)), width=self._width)

    def glossary(self) -> None:
        """Print every term with its meaning, in alphabetical order."""
        table = Table(box=None, padding=(0, 1), show_header=False, width=self._width)
        table.add_column(no_wrap=True)
        table.add_column()
        for term in sorted(self.content.terms, key=lambda term: term.name.lower()):
            table.add_row(Text(term.name, style="bold"), term.text)
        self.show(table)

    def line(self, text: str, style: str = "") -> None:
        """Print one line, indented."""
        self.console.print(Padding(Text(text, style=style), (0, 0, 0, 2)))

    def show(self, what: RenderableType) -> None:
        """Print a table, indented."""
        self.console.print()
        self.console.print(Padding(what, (0, 0, 0, 2), expand=False))
        self.console.print()

    def busy(self, measured: Measured[Any]) -> None:
        """Say so if other programs disturbed a measurement."""
        if measured.busy and measured.others is not None:
            self.line(
                f"The machine was busy: other programs took {measured.others:.0%} of its "
                "processors meanwhile. Times measured then are too long, and speeds too low.",
                style="yellow",
            )

    def measures_again(self, measured: Measured[Any]) -> None:
        """Say that a disturbed measurement is repeated."""
        self.line(
            f"The machine is busy ({measured.others or 0:.0%} for other programs). "
            "Measuring again.",
            style="yellow",
        )

    @property
    def _width(self) -> int:
        return min(_WIDEST, self.console.width)
