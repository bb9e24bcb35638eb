"""The practice questions in a terminal: asked before the measurement that answers them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from ingot.lesson.terminal.display import Display
from ingot.lesson_content import Content, Question


@dataclass
class Answers:
    """What the user answered, and the measurements."""

    evidence: dict[str, str] = field(default_factory=dict)
    """By the question's id."""
    _given: dict[str, str] = field(default_factory=dict)
    right: int = 0

    def ask(self, display: Display, question: Question) -> None:
        """Ask a question; the answer is judged once it was measured."""
        display.console.print()
        display.line(f"Question: {question.ask}", style="bold")
        answer = display.prompter.choice(question.choices)
        if answer is not None:
            self._given[question.id] = answer
            self.right += answer == question.answer
            display.line(f"Noted: {answer}. Now it is measured.", style="dim")

    def judge(self, display: Display, question: Question, evidence: str) -> None:
        """Show the measurement, then whether the answer was right, and why."""
        self.evidence[question.id] = evidence
        display.console.print()
        display.line(f"Measured: {evidence}.")
        answer = self._given.get(question.id)
        if answer is None:
            display.line(f"Answer: {question.answer}. {question.why}")
        elif answer == question.answer:
            display.line(f"Right, {answer}. {question.why}", style="green")
        else:
            display.line(f"Not {answer}. {question.wrong[answer]}", style="red")
            display.line(f"It is {question.answer}. {question.why}", style="green")

    def score(self, display: Display, content: Content, digest: str) -> None:
        """Show the score and the certificate; nothing without a user."""
        if not display.prompter.interactive:
            return
        display.title(content.score.title)
        total = len(content.questions)
        display.console.print()
        display.line(f"{self.right} of {total} answers right.", style="bold")
        display.say(content.score.text)
        display.console.print()
        certificate = content.certificate.format(
            right=self.right, total=total, date=time.strftime("%Y-%m-%d"), digest=digest
        )
        # Unwrapped, so that it can be copied as one line.
        display.console.print(certificate, highlight=False, markup=False, soft_wrap=True)
