"""Prompts of the lesson: numbers, choices and pauses, or none of them."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Protocol

from rich.console import Console
from rich.prompt import Confirm, Prompt

from ingot.errors import UsageError

GLOSSARY = "?"
"""Answer to a pause that asks for the glossary."""


class Prompter(Protocol):
    """Source of the user's input."""

    interactive: bool
    """Whether a user answers."""

    def pause(self, what: str) -> str:
        """Wait until the user continues to ``what``; return what was typed."""

    def confirm(self, question: str) -> bool:
        """Ask a question of yes or no; the default is no."""

    def number(self, name: str, default: Fraction) -> Fraction:
        """Ask for a number."""

    def integer(self, name: str, default: int, most: int) -> int:
        """Ask for a whole number from 1 to ``most``."""

    def choice(self, choices: Sequence[str]) -> str | None:
        """Ask which of these; None without a user."""


class TerminalPrompter:
    """A person at a terminal; Enter takes the default."""

    interactive = True

    def __init__(self, console: Console) -> None:
        self._console = console

    def pause(self, what: str) -> str:
        """Wait for Enter, or for the sign that asks for the glossary."""
        return self._ask(f"Enter for {what} ({GLOSSARY} for the glossary)", "")

    def confirm(self, question: str) -> bool:
        """Ask yes or no."""
        try:
            return Confirm.ask(question, console=self._console, default=False)
        except EOFError as error:
            raise _no_more() from error

    def number(self, name: str, default: Fraction) -> Fraction:
        """Ask until a number comes, such as 0.1, -3 or 1/3."""
        while True:
            text = self._ask(name, f"{float(default):g}")
            try:
                return Fraction(text)
            except (ValueError, ZeroDivisionError):
                self._console.print("  give a number, such as 0.1, -3 or 1/3")

    def integer(self, name: str, default: int, most: int) -> int:
        """Ask until a whole number in range comes."""
        while True:
            text = self._ask(name, str(default))
            if text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= most:
                return int(text)
            self._console.print(f"  give a whole number from 1 to {most}")

    def choice(self, choices: Sequence[str]) -> str | None:
        """Ask for a choice by its letter."""
        letters = [chr(ord("a") + index) for index in range(len(choices))]
        for letter, text in zip(letters, choices, strict=True):
            self._console.print(f"  {letter}) {text}")
        while True:
            text = self._ask(f"your answer, {letters[0]} to {letters[-1]}", "").lower()
            if text in letters:
                return choices[letters.index(text)]

    def _ask(self, question: str, default: str) -> str:
        try:
            answer = Prompt.ask(
                f"  {question}", console=self._console, default=default, show_default=bool(default)
            )
        except EOFError as error:
            raise _no_more() from error
        return answer.strip()


class DefaultPrompter:
    """No user: the defaults, without waiting."""

    interactive = False

    def pause(self, what: str) -> str:  # noqa: ARG002 (unused here)
        """Return at once."""
        return ""

    def confirm(self, question: str) -> bool:  # noqa: ARG002 (unused here)
        """Say no."""
        return False

    def number(self, name: str, default: Fraction) -> Fraction:  # noqa: ARG002
        """Take the default."""
        return default

    def integer(self, name: str, default: int, most: int) -> int:  # noqa: ARG002
        """Take the default."""
        return default

    def choice(self, choices: Sequence[str]) -> str | None:  # noqa: ARG002
        """Give no answer."""
        return None


def _no_more() -> UsageError:
    return UsageError(
        "there is no more input",
        where="lesson",
        fix="to read it all at once: ingot lesson --no-input",
    )
