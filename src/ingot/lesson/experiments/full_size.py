"""The loop of one weight at full size: a language model predicts, compares, updates; is asked."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ingot.api.inference import Model
from ingot.artifact import Ingot
from ingot.errors import IngotError
from ingot.model.transformer import Transformer
from ingot.training.optim.optimizer import Optimizer
from ingot.training.run_folder import checkpoint
from ingot.training.run_folder.run import Run, open_pretraining_run
from ingot.training.run_folder.trained_weights import trained_weights

_TOKENS = 12  # shown in slow motion
_CONTEXT = 24  # read before them
_LIKELIEST = 3


@dataclass(frozen=True)
class TokenPrediction:
    """Probability of one token before and after an update on it."""

    token: str
    """The token that came."""
    guess: str
    """The one the model held likeliest."""
    before: float
    """Probability it gave to the token that came."""
    after: float
    """The same after the update."""


@dataclass(frozen=True)
class UpdateTrace:
    """One update in slow motion."""

    context: str
    """The text before the tokens shown."""
    guesses: tuple[TokenPrediction, ...]
    loss_before: float
    """Nats per token over context and tokens."""
    loss_after: float
    digest_before: str
    """SHA-256 over every weight in memory."""
    digest_after: str
    changed: int
    """Weights that are not what they were."""
    weights: int


@dataclass(frozen=True)
class InferenceTrace:
    """One question to the sealed model, and its weights before and after."""

    prompt: str
    answer: str
    likeliest: tuple[tuple[str, float], ...]
    """The first token's likeliest choices and their probabilities."""
    questions: int
    """Answers given between the two digests."""
    digest_before: str
    digest_after: str
    tensors: int
    intact: int
    """Tensors in memory whose digest is the one they were sealed with."""
    refusal: str
    """The words a write to the sealed weights is refused with."""


def load_training_model(run: Run) -> Transformer:
    """Return the run's best checkpoint as the module that training updates."""
    model = Transformer(run.model_config)
    model.load_state_dict(trained_weights(run, checkpoint.best(run.path)))
    return model


def trace_update(run_path: Path) -> UpdateTrace:
    """Let a trained model read a little text and learn from it once."""
    run = open_pretraining_run(run_path)
    model = load_training_model(run)
    ids = torch.from_numpy(run.open_corpus().train.read(1, _CONTEXT + _TOKENS + 1))
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    digest_before = weights_digest(weights)
    scored = _log_probabilities(model, ids)
    loss = functional.nll_loss(scored, ids[1:])
    before = scored.detach()
    optimizer = Optimizer(model, run.recipe.optimizer)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step(1.0)
    with torch.inference_mode():
        after = _log_probabilities(model, ids)
    updated = model.state_dict()
    changed = sum(int((updated[name] != old).sum()) for name, old in weights.items())
    decode = run.tokenizer.decode
    guesses = tuple(
        TokenPrediction(
            token=decode([int(ids[position + 1])]),
            guess=decode([int(before[position].argmax())]),
            before=float(before[position, ids[position + 1]].exp()),
            after=float(after[position, ids[position + 1]].exp()),
        )
        for position in range(_CONTEXT, _CONTEXT + _TOKENS)
    )
    return UpdateTrace(
        context=decode(ids[: _CONTEXT + 1].tolist()),
        guesses=guesses,
        loss_before=loss.item(),
        loss_after=functional.nll_loss(after, ids[1:]).item(),
        digest_before=digest_before,
        digest_after=weights_digest(updated),
        changed=changed,
        weights=sum(tensor.numel() for tensor in weights.values()),
    )


def trace_inference(
    model: Model, prompt: str, *, questions: int, tokens: int = 48
) -> InferenceTrace:
    """Ask the sealed model many times and compare its weights before and after."""
    before = memory_digest(model.ingot)
    for seed in range(questions - 1):
        model.generate(prompt, max_tokens=tokens, temperature=1.0, seed=seed)
    last = model.generate(
        prompt, max_tokens=tokens, temperature=0.6, seed=questions, logprobs=_LIKELIEST
    )
    decode = model.ingot.tokenizer.decode
    top = last.logprobs[0].top if last.logprobs else ()
    return InferenceTrace(
        prompt=prompt,
        answer=last.text,
        likeliest=tuple((decode([token]), float(np.exp(score))) for token, score in top),
        questions=questions,
        digest_before=before,
        digest_after=memory_digest(model.ingot),
        tensors=len(model.ingot.tensors),
        intact=intact_tensors(model.ingot),
        refusal=refused_write(model.ingot),
    )


def weights_digest(weights: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 over the bytes of every tensor, in order of name."""
    sha = hashlib.sha256()
    for name in sorted(weights):
        sha.update(weights[name].detach().cpu().numpy().tobytes())
    return sha.hexdigest()


def memory_digest(ingot: Ingot) -> str:
    """Return the SHA-256 over the bytes of every tensor in memory, in order of name."""
    sha = hashlib.sha256()
    for name in sorted(ingot.tensors):
        sha.update(ingot.tensors[name].data)
    return sha.hexdigest()


def intact_tensors(ingot: Ingot) -> int:
    """Count the tensors in memory whose digest is the one in the manifest."""
    return sum(
        hashlib.sha256(stored.data).hexdigest() == ingot.manifest.tensors[name].sha256
        for name, stored in ingot.tensors.items()
    )


def refused_write(ingot: Ingot) -> str:
    """Try to change the first weight; return the words it is refused with.

    Raises:
        IngotError: nothing stopped it.
    """
    name, stored = next(iter(ingot.tensors.items()))
    array = stored.array()
    try:
        array.flat[0] = 0
    except ValueError as refusal:
        return f"{name}: {refusal}"
    raise IngotError("a write to sealed weights was not refused", where=name)


def _log_probabilities(model: Transformer, ids: Tensor) -> Tensor:
    """Return what the model thinks of each token after the first: (T - 1, V)."""
    logits = model.logits(model(ids[None, :-1]))[0]
    return functional.log_softmax(logits.float(), dim=-1)
