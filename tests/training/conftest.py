"""A small corpus of real source code, recipes that train on it in seconds, and a small model."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import ingot
from ingot.corpus import Corpus, CorpusConfig, build_corpus
from ingot.model import ModelConfig, Tokenizer
from ingot.model.transformer import Transformer
from ingot.training.config.recipe import Recipe, make_recipe
from ingot.training.loop import trainer
from ingot.training.loop.trainer import Trainer
from ingot.training.monitoring.events import Event, Stepped
from ingot.training.monitoring.run_reporter import TrainingResult
from ingot.training.run_folder.run import AnyRun, PretrainingRecord, PretrainingRun, create_run

SOURCE = Path(ingot.__file__).parent
NewModel = Callable[..., Transformer]


@pytest.fixture(scope="session")
def source() -> Path:
    """Our own source: text that is there wherever the tests are."""
    return SOURCE


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("corpus") / "built"
    texts = [SOURCE / "model", SOURCE / "errors.py", SOURCE / "files.py"]
    return build_corpus(texts, folder, CorpusConfig(vocab_size=384, validation_fraction=0.1))


@pytest.fixture
def recipe() -> Callable[..., Recipe]:
    def make(**sections: dict[str, Any]) -> Recipe:
        tables: dict[str, dict[str, Any]] = {
            "model": {
                "hidden_size": 32,
                "intermediate_size": 64,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "num_key_value_heads": 1,
                "head_dim": 16,
            },
            "batch": {"context": 32, "sequences": 4},
            "run": {"steps": 12, "evaluations": 2, "samples": 1},
        }
        for section, values in sections.items():
            tables[section] = tables.get(section, {}) | values
        return make_recipe(tables)

    return make


@pytest.fixture
def new_run(corpus: Corpus, tmp_path: Path) -> Callable[..., PretrainingRun]:
    def make(recipe: Recipe, name: str = "run") -> PretrainingRun:
        record = PretrainingRecord(
            corpus=str(corpus.path),
            corpus_digest=corpus.manifest.digest,
            bytes_per_token=corpus.manifest.train.bytes / corpus.manifest.train.tokens,
            code_version="test",
        )
        run = create_run(tmp_path / name, recipe, corpus.tokenizer, record)
        assert isinstance(run, PretrainingRun)
        return run

    return make


class Watched:
    """Trains and keeps the events."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.interrupted = threading.Event()
        self.on_event: Callable[[Event], None] = lambda _: None

    def train(self, run: AnyRun) -> TrainingResult:
        return Trainer(run, self.observe, self.interrupted).train()

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def observe(self, event: Event) -> None:
        self.events.append(event)
        self.on_event(event)


@pytest.fixture
def watched() -> Watched:
    return Watched()


@pytest.fixture
def watch() -> type[Watched]:
    """For tests that train more than once."""
    return Watched


class Waits(TorchDispatchMode):
    """Notes what would make Python wait for a device: values read, and sizes that hang on them."""

    OPERATORS = frozenset(
        {
            torch.ops.aten._local_scalar_dense.default,
            torch.ops.aten.equal.default,
            torch.ops.aten.nonzero.default,
            torch.ops.aten.masked_select.default,
        }
    )

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[object] = []

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        by_mask = function in (
            torch.ops.aten.index.Tensor,
            torch.ops.aten.index_put_.default,
        ) and any(value is not None and value.dtype is torch.bool for value in args[1])
        if by_mask or function in self.OPERATORS:
            self.seen.append(function)
        return function(*args, **(kwargs or {}))


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Waits:
    """What the updates of this test would wait for."""
    noted, make = Waits(), trainer.train_step

    def watched(*arguments: Any) -> Any:
        with noted:
            return make(*arguments)

    monkeypatch.setattr(trainer, "train_step", watched)
    return noted


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    texts = [path.read_text() for path in sorted((SOURCE / "model").glob("*.py"))]
    return Tokenizer.train(texts, 320)


@pytest.fixture
def new_model(tokenizer: Tokenizer) -> NewModel:
    """Make a model whose every weight is drawn at random, so that no layer is the identity."""

    def make(
        *,
        seed: int = 1,
        context: int = 64,
        vocab_size: int | None = None,
        head_dim: int = 8,
        sliding_window: int | None = None,
    ) -> Transformer:
        config = ModelConfig(
            vocab_size=vocab_size or tokenizer.vocab_size,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=head_dim,
            max_position_embeddings=context,
            tie_word_embeddings=False,
            sliding_window=sliding_window,
        )
        model = Transformer(config)
        generator = torch.Generator().manual_seed(seed)
        model.initialise(generator)
        for name, parameter in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                torch.nn.init.normal_(parameter, std=0.2, generator=generator)
        return model

    return make


@pytest.fixture
def stepped() -> Callable[[int], Stepped]:
    """Make the event of an update by its number."""

    def make(step: int) -> Stepped:
        return Stepped(
            step=step,
            progress=step / 10,
            loss=5.0 - step / 10,
            bits_per_byte=2.0,
            learning_rate=1.0,
            gradient_norm=0.5,
            tokens=step * 64,
            tokens_per_second=1000.0,
            flops_per_second=1e9,
            share_of_peak=0.5,
            seconds_left=1.0,
        )

    return make
