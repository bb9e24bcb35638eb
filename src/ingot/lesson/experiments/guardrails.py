"""One prompt answered without a guardrail, and with a system prompt, a stop list and a grammar."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ingot.api.inference import Model
from ingot.inference.request.grammar_compiler import GrammarCompiler
from ingot.lesson_content import GuardrailExample

ANSWERS = 8
"""Answers with each guardrail; their seeds are the same."""
_TOKENS = 16


@dataclass(frozen=True)
class GuardrailResult:
    """Answers with one guardrail."""

    name: str
    answers: int
    allowed: int
    """Answers that are one of those that the rule allows."""
    stopped: int
    """Answers without a text of the stop list."""
    example: str
    """The first answer."""


def try_guardrails(model: Model, example: GuardrailExample) -> tuple[GuardrailResult, ...]:
    """Answer the prompt with each guardrail in turn, sampled at temperature 1.

    Raises:
        UsageError: the prompt is longer than the model's context.
        ResourceError: the machine cannot start the process that compiles the grammar.
    """
    prompt, stop = example.prompt, example.stop
    choices = "|".join(re.escape(text) for text in example.allowed)
    compiler = GrammarCompiler(model.ingot.tokenizer)
    try:
        grammar = compiler.compile("regex", f" ({choices})")
        return (
            _answers("no guardrail", model, example, prompt),
            _answers("a system prompt", model, example, example.system + prompt),
            _answers("a stop list", model, example, prompt, stop=stop),
            _answers("a grammar", model, example, prompt, grammar=grammar),
        )
    finally:
        compiler.close()


def _answers(
    name: str, model: Model, example: GuardrailExample, prompt: str, **sampling: Any
) -> GuardrailResult:
    texts = [
        model.generate(prompt, max_tokens=_TOKENS, temperature=1.0, seed=seed, **sampling).text
        for seed in range(ANSWERS)
    ]
    return GuardrailResult(
        name=name,
        answers=len(texts),
        allowed=sum(is_allowed(text, example) for text in texts),
        stopped=sum(not any(stop in text for stop in example.stop) for text in texts),
        example=texts[0],
    )


def is_allowed(answer: str, example: GuardrailExample) -> bool:
    """Tell whether an answer keeps to the rule, whatever its case and the white space around it."""
    return answer.strip().lower().rstrip(".") in example.allowed
