from __future__ import annotations

import pytest

from ingot.api.inference import Model
from ingot.lesson.experiments.guardrails import ANSWERS, is_allowed, try_guardrails
from ingot.lesson_content import GuardrailExample, read_content


@pytest.mark.parametrize(
    ("answer", "keeps"), [("yes", True), (" No.\n", True), ("yes and no", False), ("", False)]
)
def test_an_answer_keeps_to_the_rule_or_not(answer: str, keeps: bool) -> None:
    assert is_allowed(answer, read_content().guardrails) == keeps


def test_only_the_grammar_holds_every_time(model: Model) -> None:
    example = GuardrailExample(
        prompt="Yes or no?\nAnswer:", system="Be brief.\n", allowed=("yes", "no"), stop=("e",)
    )
    nothing, system, stop, grammar = try_guardrails(model, example)
    assert {each.answers for each in (nothing, system, stop, grammar)} == {ANSWERS}
    assert nothing.allowed == 0  # the model is a few updates old
    assert stop.stopped == ANSWERS
    assert "e" not in stop.example
    assert grammar.allowed == ANSWERS
    assert grammar.example in (" yes", " no")
