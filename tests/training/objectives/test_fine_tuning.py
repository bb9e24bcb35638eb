from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
import torch

from ingot.errors import CorpusError
from ingot.model import Tokenizer
from ingot.model.chat import ChatTemplate
from ingot.model.transformer import Transformer
from ingot.training.data.batch import Batch
from ingot.training.data.conversations import Examples, read_examples
from ingot.training.objectives.fine_tuning import FineTuning

CPU = torch.device("cpu")
COLOURS = {"sky": "blue", "grass": "green", "blood": "red", "coal": "black"}


@pytest.fixture(scope="module")
def examples(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Examples:
    path = tmp_path_factory.mktemp("chat") / "colours.jsonl"
    with path.open("w") as file:
        for thing, colour in COLOURS.items():
            for ask in (f"Colour of {thing}?", f"{thing}?"):
                talk = [{"role": "user", "content": ask}, {"role": "assistant", "content": colour}]
                file.write(json.dumps({"messages": talk}) + "\n")
    with ChatTemplate() as template:
        return read_examples([path], tokenizer, template, context=63)


@pytest.fixture
def objective(examples: Examples, tokenizer: Tokenizer) -> FineTuning:
    return FineTuning(examples, context=63, batch=3, seed=2, eos_id=tokenizer.eos_id)


def unpacked(batch: Batch) -> list[tuple[list[int], list[int]]]:
    """Each example of a batch: its tokens, and the ones that are to be predicted."""
    assert batch.mask is not None
    assert batch.segments is not None
    found = []
    for ids, mask, segments in zip(batch.ids, batch.mask, batch.segments, strict=True):
        for segment in range(segments.max() + 1):
            indices = np.flatnonzero(segments == segment)
            if mask[indices].any():
                tokens = ids[indices].tolist()
                if indices[-1] == len(mask) - 1 and mask[-1]:  # it fills the row to its last token
                    tokens.append(int(ids[-1]))
                found.append((tokens, ids[1:][indices[mask[indices]]].tolist()))
    return found


def test_an_epoch_holds_every_example_with_its_answer(
    objective: FineTuning, examples: Examples
) -> None:
    expected = []
    for start, end in zip(examples.starts[:-1], examples.starts[1:], strict=True):
        ids, said = examples.ids[start:end], examples.answers[start:end]
        expected.append((ids.tolist(), ids[said].tolist()))
    found = []
    while len(found) < len(examples):
        batch = objective.next_batch()
        assert batch.ids.shape == (3, 64)
        assert batch.mask is not None
        assert batch.weight == batch.mask.sum()
        found += unpacked(batch)
    assert sorted(found[: len(examples)]) == sorted(expected)


def test_a_full_window_keeps_its_last_answer_token(
    examples: Examples, tokenizer: Tokenizer
) -> None:
    length = int(np.diff(examples.starts).max())
    tight = FineTuning(examples, context=length - 1, batch=16, seed=0, eos_id=tokenizer.eos_id)
    batch = tight.next_batch()
    assert batch.mask is not None
    assert batch.mask[:, -1].any()


def test_no_example_predicts_the_next_ones_first_token() -> None:
    said = np.ones(15, np.bool_)  # a template may begin with an answer
    examples = Examples(np.arange(1, 16, dtype=np.int32), said, np.array([0, 5, 10, 15]), 0, 0)
    batch = FineTuning(examples, context=14, batch=1, seed=0, eos_id=0).next_batch()
    assert batch.mask is not None
    np.testing.assert_array_equal(np.flatnonzero(~batch.mask[0]), [4, 9])


def test_packed_answers_lose_what_each_loses_alone(
    objective: FineTuning, examples: Examples, new_model: Callable[..., Transformer]
) -> None:
    model, batch = new_model(), objective.next_batch()
    total = torch.zeros(())
    for start, end in zip(examples.starts[:-1], examples.starts[1:], strict=True):
        ids = examples.ids[None, start:end].astype(np.int64)
        alone = Batch(ids, examples.answers[None, start + 1 : end], None)
        if ids[0].tolist() in [tokens for tokens, _ in unpacked(batch)]:
            total += objective.loss(model, alone, CPU)
    torch.testing.assert_close(objective.loss(model, batch, CPU), total, rtol=1e-5, atol=1e-5)


def test_it_continues_where_its_state_was_taken(
    objective: FineTuning, examples: Examples, tokenizer: Tokenizer
) -> None:
    for _ in range(3):
        objective.next_batch()
    again = FineTuning(examples, context=63, batch=3, seed=2, eos_id=tokenizer.eos_id)
    again.restore(objective.state())
    assert again.epoch == objective.epoch > 1
    np.testing.assert_array_equal(again.next_batch().ids, objective.next_batch().ids)


def test_other_examples_are_refused_on_resume(
    objective: FineTuning, examples: Examples, tokenizer: Tokenizer
) -> None:
    changed = Examples(examples.ids + 1, examples.answers, examples.starts, 0, 0)
    other = FineTuning(changed, context=63, batch=3, seed=2, eos_id=tokenizer.eos_id)
    with pytest.raises(CorpusError, match="the run was started with data"):
        other.restore(objective.state())


def test_answers_are_learned(
    objective: FineTuning, tokenizer: Tokenizer, new_model: Callable[..., Transformer]
) -> None:
    model = new_model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.005)
    for _ in range(50):
        batch = objective.next_batch()
        loss = objective.loss(model, batch, CPU) / batch.weight
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    with ChatTemplate() as template, torch.inference_mode():
        for thing, colour in COLOURS.items():
            talk = [{"role": "user", "content": f"Colour of {thing}?"}]
            ids, answer = template.encode(tokenizer, talk), [-1]
            while answer[-1] != tokenizer.eos_id and len(answer) < 20:
                scores = model.logits(model(torch.tensor([ids])))
                answer.append(int(scores[0, -1].argmax()))
                ids.append(answer[-1])
            assert answer[-1] == tokenizer.eos_id
            assert tokenizer.decode(answer[1:]) == colour
