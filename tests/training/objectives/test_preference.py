from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from ingot.errors import CorpusError, RecipeError
from ingot.model import Tokenizer
from ingot.model.chat import ChatTemplate
from ingot.model.transformer import Transformer
from ingot.training.compute.precision import Precision
from ingot.training.data.answers import ScoredTokens
from ingot.training.data.preference_pairs import Pairs, read_pairs
from ingot.training.objectives.preference import Preference, PreferenceBatch

NewModel = Callable[..., Transformer]
CPU = torch.device("cpu")
FLOAT32 = Precision.choose("float32")


@pytest.fixture(scope="module")
def pairs(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Pairs:
    path = tmp_path_factory.mktemp("pairs") / "polite.jsonl"
    with path.open("w") as file:
        for number in range(7):
            talk = [{"role": "user", "content": f"Is {number} a number?"}]
            line = {
                "messages": talk,
                "chosen": f"Yes, {number} is one.",
                "rejected": "No" * number + "!",
            }
            file.write(json.dumps(line) + "\n")
    with ChatTemplate() as template:
        return read_pairs([path], tokenizer, template, context=63)


@pytest.fixture
def new_objective(pairs: Pairs, tokenizer: Tokenizer) -> Callable[..., Preference]:
    def make(model: Transformer, *, beta: float = 0.5, batch: int = 3) -> Preference:
        return Preference(
            pairs,
            model,
            batch=batch,
            beta=beta,
            seed=4,
            eos_id=tokenizer.eos_id,
            precision=FLOAT32,
        )

    return make


NewObjective = Callable[..., Preference]


def log_probability(model: Transformer, answer: ScoredTokens) -> Tensor:
    """Of one answer by itself, token by token."""
    ids = torch.from_numpy(answer.ids.astype(np.int64))
    scores = model.logits(model(ids[None, :-1]))[0].log_softmax(-1)
    chosen = scores[torch.arange(len(ids) - 1), ids[1:]]
    return chosen[torch.from_numpy(answer.counted[1:])].sum()


def test_the_starting_weights_lose_log_two_on_every_pair(
    new_model: NewModel, new_objective: NewObjective
) -> None:
    model = new_model()
    objective = new_objective(model)
    for _ in range(4):
        batch = objective.next_batch()
        assert batch.weight == 3
        assert objective.loss(model, batch, CPU).item() == pytest.approx(3 * math.log(2), abs=1e-4)


def test_the_loss_is_the_papers(
    new_model: NewModel, new_objective: NewObjective, pairs: Pairs
) -> None:
    start, model = new_model(seed=1), new_model(seed=2)
    objective = new_objective(start, beta=0.3, batch=len(pairs))
    loss = objective.loss(model, objective.next_batch(), CPU)
    expected = torch.zeros(())
    for pair in pairs.pairs:
        chosen = log_probability(model, pair.chosen) - log_probability(start, pair.chosen)
        rejected = log_probability(model, pair.rejected) - log_probability(start, pair.rejected)
        expected = expected - functional.logsigmoid(0.3 * (chosen - rejected))
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-4)


def test_parts_of_a_batch_keep_pairs_together(
    new_model: NewModel, new_objective: NewObjective
) -> None:
    start, model = new_model(seed=1), new_model(seed=2)
    objective = new_objective(start, batch=5)
    batch = objective.next_batch()
    whole = objective.loss(model, batch, CPU)
    parts = batch.split(3)
    assert [part.weight for part in parts] == [1, 2, 2]
    assert all(type(part) is PreferenceBatch for part in parts)
    total = torch.stack([objective.loss(model, part, CPU) for part in parts]).sum()
    torch.testing.assert_close(total, whole, rtol=1e-5, atol=1e-5)


def test_the_model_is_only_read(new_model: NewModel, new_objective: NewObjective) -> None:
    model = new_model()
    before = copy.deepcopy(model.state_dict())
    new_objective(model)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_it_continues_where_its_state_was_taken(
    new_model: NewModel, new_objective: NewObjective
) -> None:
    first = new_objective(new_model())
    for _ in range(3):
        first.next_batch()
    second = new_objective(new_model())
    second.restore(first.state())
    assert second.epoch == first.epoch > 1
    expected, found = first.next_batch(), second.next_batch()
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_array_equal(found.reference, expected.reference)


def test_other_pairs_are_refused_on_resume(
    new_model: NewModel, new_objective: NewObjective, pairs: Pairs, tokenizer: Tokenizer
) -> None:
    other = Preference(
        Pairs(pairs.pairs[::-1], 0, 0),
        new_model(),
        batch=3,
        beta=0.5,
        seed=4,
        eos_id=tokenizer.eos_id,
        precision=FLOAT32,
    )
    with pytest.raises(CorpusError, match="the run was started with data"):
        other.restore(new_objective(new_model()).state())


@pytest.mark.parametrize("beta", [0.0, -1.0, math.nan, math.inf])
def test_a_senseless_beta_is_refused(
    beta: float, new_model: NewModel, new_objective: NewObjective
) -> None:
    with pytest.raises(RecipeError, match=r"beta: .* is not above 0"):
        new_objective(new_model(), beta=beta)


def test_the_chosen_answers_become_likelier(
    new_model: NewModel, new_objective: NewObjective, pairs: Pairs
) -> None:
    start, model = new_model(), new_model()
    objective = new_objective(start)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.002)
    losses = []
    for _ in range(30):
        batch = objective.next_batch()
        loss = objective.loss(model, batch, CPU) / batch.weight
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2
    with torch.inference_mode():
        for pair in pairs.pairs:
            chosen = log_probability(model, pair.chosen) - log_probability(start, pair.chosen)
            rejected = log_probability(model, pair.rejected) - log_probability(start, pair.rejected)
            assert chosen > rejected
