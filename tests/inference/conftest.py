from __future__ import annotations

from collections.abc import Callable, Iterator
from collections.abc import Sequence as Seq
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ingot.artifact import Ingot, open_ingot
from ingot.errors import ServeError
from ingot.inference import Engine, EngineConfig, OutputDelta, SamplingParams
from ingot.inference.executors.base import ModelInput
from ingot.inference.request.sequence import SampledToken
from ingot.model import ModelConfig, Tokenizer
from ingot.model.rope import RopeConfig
from tests.random_model import freeze_random, small_config

CONTEXT = 128
TEXT = "def area(width, height):\n    return width * height\n" * 4 + "the quick brown fox é " * 8


@pytest.fixture(scope="module", autouse=True)
def float32_in_pytorch() -> Iterator[None]:
    """PyTorch computes in float32 here even where the CPU multiplies bfloat16: scores compare."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: False)
        yield


class EchoExecutor:
    """A real paged cache around a model that is one hash: fast, and exact to the last token.

    The next token depends on every token read back through the block table, so a
    block that is shared, lost or overwritten changes the answer. Slots not written
    since they were handed out hold what their last owner left.
    """

    def __init__(self, config: ModelConfig, vocabulary: int, num_blocks: int, size: int) -> None:
        self.config, self.num_blocks, self.block_size = config, num_blocks, size
        self.vocabulary = vocabulary
        self.closed = False
        self.interrupted = False
        self.fail_after: int | None = None
        self.features = frozenset({"verify_rows"})
        self.steps: list[list[int]] = []
        """For each step, the tokens of each model_input."""
        self._slots = np.full((num_blocks, size), -1, dtype=np.int64)

    def step(self, inputs: Seq[ModelInput]) -> list[SampledToken | None]:
        assert not self.closed
        if self.fail_after is not None and len(self.steps) >= self.fail_after:
            raise ServeError("2 of 8 scores are not finite", where="model")
        self.steps.append([len(model_input.token_ids) for model_input in inputs])
        return [self._run(model_input) for model_input in inputs]

    def try_step(self, inputs: Seq[ModelInput]) -> list[SampledToken | None] | None:
        if self.interrupted:
            return None
        return self.step(inputs)

    def interrupt(self, on: bool) -> None:
        self.interrupted = on

    def close(self) -> None:
        self.closed = True

    def weight_digests(self) -> dict[str, str]:
        return {}

    def yield_cpu(self, on: bool) -> None:
        pass

    def _run(self, model_input: ModelInput) -> SampledToken | None:
        for position, token in enumerate(model_input.token_ids, model_input.start):
            block, offset = divmod(position, self.block_size)
            self._slots[model_input.block_table[block], offset] = token
        if model_input.sampling is None:
            return None
        end = model_input.start + len(model_input.token_ids)
        rows = (*model_input.verify_rows, model_input.sampling)
        seen = self._slots[list(model_input.block_table)].reshape(-1)[:end].tolist()
        drawn = []
        for row, stop in zip(rows, range(end - len(rows) + 1, end + 1), strict=True):
            assert row.position == stop
            drawn.append(SampledToken(next_token(seen[:stop], row.seed, self.vocabulary), None))
        return drawn[-1]._replace(verified=tuple(drawn[:-1]))


def next_token(seen: Seq[int], seed: int, vocabulary: int) -> int:
    value = seed % 1_000_003
    for token in seen:
        value = (value * 31 + token + 7) % 1_000_003
    return value % vocabulary


@pytest.fixture(scope="session")
def config() -> ModelConfig:
    return small_config(max_position_embeddings=CONTEXT, rope=RopeConfig(50_000.0))


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """Fewer tokens than the model has rows, as happens with padded embedding tables."""
    return Tokenizer.train([TEXT], 300)


@pytest.fixture(scope="session")
def ingot(
    tmp_path_factory: pytest.TempPathFactory, config: ModelConfig, tokenizer: Tokenizer
) -> Iterator[Ingot]:
    """A small model with random weights, frozen and opened."""
    out: Path = tmp_path_factory.mktemp("inference") / "tiny.ingot"
    freeze_random(out, config, tokenizer)
    with open_ingot(out) as ingot:
        yield ingot


MakeEngine = Callable[..., tuple[Engine, EchoExecutor]]


@pytest.fixture(scope="session")
def make_engine(config: ModelConfig, tokenizer: Tokenizer) -> MakeEngine:
    """Build an engine over an exact executor; keywords are ``EngineConfig``'s."""

    def make(
        num_blocks: int = 64, block_size: int = 4, vocabulary: int | None = None, **limits: Any
    ) -> tuple[Engine, EchoExecutor]:
        vocabulary = vocabulary or tokenizer.vocab_size
        executor = EchoExecutor(config, vocabulary, num_blocks, block_size)
        settings = EngineConfig(num_blocks=num_blocks, block_size=block_size, **limits)
        return Engine(executor, tokenizer, settings), executor

    return make


Expected = Callable[..., list[int]]


@pytest.fixture(scope="session")
def expected(tokenizer: Tokenizer) -> Expected:
    """What the exact executor answers to a prompt, worked out without an engine."""

    def answer(
        prompt: Seq[int], params: SamplingParams, vocabulary: int | None = None
    ) -> list[int]:
        tokens = list(prompt)
        assert params.seed is not None
        while len(tokens) < min(len(prompt) + params.max_tokens, CONTEXT):
            token = next_token(tokens, params.seed, vocabulary or tokenizer.vocab_size)
            if token == tokenizer.eos_id and not params.ignore_eos:
                break
            tokens.append(token)
        return tokens[len(prompt) :]

    return answer


class Receiver:
    """Collects an answer and checks that it ends once."""

    def __init__(self) -> None:
        self.deltas: list[OutputDelta] = []

    def __call__(self, delta: OutputDelta) -> None:
        assert self.reason is None, "a delta after the last one"
        self.deltas.append(delta)

    @property
    def reason(self) -> str | None:
        return self.deltas[-1].finish_reason if self.deltas else None

    @property
    def text(self) -> str:
        return "".join(delta.text for delta in self.deltas)

    @property
    def token_ids(self) -> list[int]:
        return [token for delta in self.deltas for token in delta.token_ids]


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture(scope="session")
def make_receiver() -> Callable[[], Receiver]:
    return Receiver
