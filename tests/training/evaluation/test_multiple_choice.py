from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ingot.errors import CorpusError
from ingot.model import ModelConfig, Tokenizer
from ingot.model.transformer import Transformer
from ingot.training.compute.precision import Precision
from ingot.training.config.recipe import Recipe
from ingot.training.data.batch import Batch
from ingot.training.evaluation.multiple_choice import (
    Question,
    answer_questions,
    read_questions,
    score_multiple_choice,
)
from ingot.training.objectives.next_token import next_token_loss
from ingot.training.run_folder.run import Run

TOKENIZER = Tokenizer.train(["What is the colour of grass, snow and coal? "], 270)
FLOAT32 = Precision.choose("float32")
COLOURS = {"grass": "green", "snow": "white", "coal": "black", "blood": "red"}


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write(*lines: Any) -> Path:
        path = tmp_path / "task.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return path

    return write


def new_model(context: int = 64) -> Transformer:
    model = Transformer(
        ModelConfig(
            vocab_size=TOKENIZER.vocab_size,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=16,
            max_position_embeddings=context,
        )
    )
    generator = torch.Generator().manual_seed(3)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    return model


def questions() -> list[dict[str, Any]]:
    """Of every colour, with the right choice at changing indices."""
    colours = list(COLOURS.values())
    asked = []
    for turn, (thing, colour) in enumerate(COLOURS.items()):
        choices = colours[-turn:] + colours[:-turn]
        question = f"Colour of {thing}?"
        asked.append({"question": question, "choices": choices, "answer": choices.index(colour)})
    return asked


def test_two_ways_to_ask(write: Any) -> None:
    path = write(
        {"question": "Two?", "choices": ["1", "2"], "answer": 1, "subject": "ignored"},
        {"prompt": "", "choices": ["a", " b", "c"], "answer": 0},
    )
    assert read_questions(path) == [
        Question("Question: Two?\nAnswer:", (" 1", " 2"), 1, f"{path}:1"),
        Question("", ("a", " b", "c"), 0, f"{path}:2"),
    ]


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"question": None}, "'question' is null, not text"),
        ({"prompt": "x"}, "must have either 'prompt' or 'question'"),
        ({"choices": None}, "has no list of 'choices'"),
        ({"choices": ["a"]}, "has no list of 'choices'"),
        ({"choices": ["a", 2]}, "choice 1 is a number, not text"),
        ({"choices": ["a", ""]}, "choice 1 is empty"),
        ({"choices": ["a", "a"]}, "has two equal choices"),
        ({"answer": "a"}, "'answer' is text"),
        ({"answer": True}, "'answer' is true or false"),
        ({"answer": 2}, "'answer' is 2, no index of 2 choices"),
        ({"answer": -1}, "'answer' is -1, no index of 2 choices"),
    ],
)
def test_a_line_that_is_no_question_is_named(
    changed: dict[str, Any], problem: str, write: Any
) -> None:
    good = {"question": "x", "choices": ["a", "b"], "answer": 0}
    path = write(good, good | changed)
    with pytest.raises(CorpusError) as caught:
        read_questions(path)
    assert str(caught.value).startswith(f"{path}:2: {problem}")
    assert caught.value.fix


def test_what_was_learned_is_answered(write: Any) -> None:
    """Train on the right answers alone, then ask; the untrained model guesses."""
    path = write(*questions())
    rows = [
        [TOKENIZER.eos_id, *TOKENIZER.encode(each.prompt + each.choices[each.answer])]
        for each in read_questions(path)
    ]
    length = max(map(len, rows))
    ids = np.array([row + [TOKENIZER.eos_id] * (length - len(row)) for row in rows])
    model, batch = new_model(), Batch(ids, None, None)
    asked = read_questions(path)
    before = answer_questions(model, TOKENIZER, asked, precision=FLOAT32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.005)
    for _ in range(60):
        loss = next_token_loss(model, batch, torch.device("cpu")) / batch.weight
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    after = answer_questions(model, TOKENIZER, asked, precision=FLOAT32)
    assert before.accuracy < 1
    assert after.accuracy == after.normalised_accuracy == 1
    assert after.standard_error == 0
    assert (after.chance, after.questions, after.shortened) == (0.25, 4, 0)


def sums_of(model: Transformer, prompt: list[int], choices: tuple[str, ...]) -> list[float]:
    """Each choice's log-probability, token by token, after no more than fits of the prompt."""
    sums = []
    for choice in choices:
        after = TOKENIZER.encode(choice)
        before = prompt[-(model.config.max_position_embeddings + 1 - len(after)) :]
        ids = torch.tensor([before + after])
        scores = model.logits(model(ids[:, :-1]))[0].log_softmax(-1)
        chosen = scores[torch.arange(ids.shape[1] - 1), ids[0, 1:]]
        sums.append(chosen[len(before) - 1 :].sum().item())
    return sums


def test_likelihoods_decide_by_the_sum_and_by_the_byte() -> None:
    model, choices = new_model(), ("a", "a rather long thing", "no")
    sums = sums_of(model, [TOKENIZER.eos_id, *TOKENIZER.encode("Say ")], choices)
    per_byte = [total / len(text) for total, text in zip(sums, choices, strict=True)]
    for answer in range(3):
        question = Question("Say ", choices, answer, "x:1")
        result = answer_questions(model, TOKENIZER, [question], precision=FLOAT32)
        assert result.accuracy == (np.argmax(sums) == answer)
        assert result.normalised_accuracy == (np.argmax(per_byte) == answer)
    assert np.argmax(sums) != np.argmax(per_byte)


def test_the_error_is_a_shares() -> None:
    asked = [Question("Say ", ("a", "b"), answer, "x:1") for answer in (0, 1, 1, 1)]
    result = answer_questions(new_model(), TOKENIZER, asked, precision=FLOAT32)
    assert result.accuracy in {0.25, 0.75}
    assert result.standard_error == pytest.approx(math.sqrt(0.25 * 0.75 / 4))


def test_a_long_question_loses_its_beginning() -> None:
    model, choices = new_model(context=16), ("a", "b", "c", "d", "e", "f")
    for prompt in ("The colour of grass, and of snow", "What is coal? What is grass? What?"):
        expected = int(np.argmax(sums_of(model, TOKENIZER.encode(prompt), choices)))
        question = Question(prompt, choices, expected, "x:1")
        result = answer_questions(model, TOKENIZER, [question], precision=FLOAT32)
        assert (result.accuracy, result.shortened) == (1, 6)


def test_a_choice_longer_than_the_context_is_refused() -> None:
    model = new_model(context=16)
    fits, too_long = (Question("Say ", ("a", "x" * size), 0, "task.jsonl:7") for size in (16, 17))
    answer_questions(model, TOKENIZER, [fits], precision=FLOAT32)
    with pytest.raises(CorpusError, match=r"task\.jsonl:7: has a choice of 17 tokens"):
        answer_questions(model, TOKENIZER, [too_long], precision=FLOAT32)


def test_a_run_is_scored(
    new_run: Callable[..., Run], recipe: Callable[..., Recipe], watched: Any, write: Any
) -> None:
    run = new_run(recipe(run={"steps": 1, "evaluations": 1}))
    watched.train(run)
    path = write({"prompt": "import ", "choices": ["numpy", "zzzzzq"], "answer": 0})
    result = score_multiple_choice(run.path, path)
    assert result.questions == 1
    assert result.chance == 0.5
