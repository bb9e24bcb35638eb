"""Every family of models in the core: the PyTorch module's scores, the same bits in any batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ingot.artifact import Ingot, Provenance, Scheme, freeze, open_ingot, round_model
from ingot.errors import UsageError
from ingot.inference import SamplingParams
from ingot.inference.executors.base import HiddenStates, ModelInput, SamplingRow
from ingot.inference.executors.native import NativeExecutor
from ingot.inference.request.sequence import SampledToken
from ingot.model import ModelConfig, Tokenizer
from ingot.model.rope import RopeConfig
from ingot.model.transformer import Transformer
from ingot.native import kernels

BLOCK, LENGTH, TOKENS = 16, 150, 300
ROW = SamplingRow(SamplingParams(temperature=0), 0, 0)

LLAMA3 = RopeConfig(
    5e5, "llama3", factor=8.0, low_freq_factor=1.0, original_max_position_embeddings=64
)
LONGROPE = RopeConfig(
    rope_type="longrope",
    factor=4.0,
    original_max_position_embeddings=64,
    short_factor=(1.0, 1.1, 1.2, 1.3, 1.4, 1.5),
    long_factor=(1.0, 1.5, 2.0, 3.0, 4.0, 6.0),
)
YARN = RopeConfig(5e5, "yarn", factor=4.0, original_max_position_embeddings=64)
POST: dict[str, Any] = {"norm_placement": "post", "qk_norm": "projection"}

# What each family has, at sizes of which 16 or 32 divide few, with windows and original contexts
# that the texts leave behind.
FAMILIES: dict[str, dict[str, Any]] = {
    "qwen3": {},
    "llama": {"qk_norm": "none", "rope": LLAMA3, "rms_norm_eps": 1e-5},
    "llama_with_biases": {"qk_norm": "none", "attention_bias": "all", "mlp_bias": True},
    "mistral": {"qk_norm": "none", "sliding_window": 21, "tie_word_embeddings": False},
    "qwen2": {"qk_norm": "none", "attention_bias": "qkv", "rope": RopeConfig(1e6)},
    "smollm2": {
        "qk_norm": "none",
        "hidden_size": 72,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "head_dim": 8,
    },
    "smollm3": {"qk_norm": "none", "no_rope_layers": (3,), "rope": RopeConfig(5e6)},
    "phi3": {
        "qk_norm": "none",
        "partial_rotary_factor": 0.75,
        "rope": LONGROPE,
        "sliding_window": 140,
    },
    "olmo2": {**POST, "num_key_value_heads": 4, "tie_word_embeddings": False},
    "olmo3": {**POST, "rope": YARN, "local_rope": RopeConfig(5e5), "sliding_window": 24}
    | {"full_attention_layers": (3,)},
    "gemma3": {
        "norm_placement": "both",
        "activation": "gelu_tanh",
        "num_key_value_heads": 1,
        "head_dim": 30,
        "rope": RopeConfig(1e6, "linear", factor=8.0),
        "local_rope": RopeConfig(),
        "sliding_window": 20,
        "full_attention_layers": (2,),
    },
    "gpt2": {
        "qk_norm": "none",
        "norm": "layer",
        "attention_bias": "all",
        "mlp_bias": True,
        "gated_mlp": False,
        "activation": "gelu_tanh",
        "position_embedding": "learned",
        "num_key_value_heads": 4,
        "rms_norm_eps": 1e-5,
    },
}
SIZES: dict[str, Any] = {
    "vocab_size": 323,
    "hidden_size": 44,
    "intermediate_size": 70,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 256,
}


def random_weights(config: ModelConfig, seed: int) -> dict[str, NDArray[np.float32]]:
    """Weights under which every part matters: none is near zero or one."""
    rng = np.random.default_rng(seed)
    made = {}
    for name, shape in config.tensor_shapes().items():
        mean = 1.0 if name.endswith("norm.weight") else 0.0
        spread = 0.2 if len(shape) == 2 else 0.3
        made[name] = rng.normal(mean, spread, shape).astype(np.float32)
    return made


@contextmanager
def sealed(
    config: ModelConfig, tokenizer: Tokenizer, folder: Path, scheme: Scheme | None = None
) -> Iterator[Ingot]:
    weights = random_weights(config, 0)
    quantized = None if scheme is None else round_model(weights, config, scheme)
    path = folder / "model.ingot"
    freeze(weights, config, tokenizer, path, provenance=Provenance(), quantized=quantized).close()
    with open_ingot(path) as opened:
        yield opened


@pytest.fixture(scope="module", params=FAMILIES)
def ingot(
    request: pytest.FixtureRequest, tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ingot]:
    config = ModelConfig(**SIZES | FAMILIES[request.param])
    with sealed(config, tokenizer, tmp_path_factory.mktemp(request.param)) as opened:
        yield opened


def module_of(ingot: Ingot, context: int | None = None) -> Transformer:
    module = Transformer(ingot.config, context)
    module.load_state_dict({n: torch.from_numpy(v.copy()) for n, v in ingot.float32()})
    return module.eval()


def scores_of(module: Transformer, tokens: list[int]) -> NDArray[np.float32]:
    """Scores after each token."""
    with torch.inference_mode():
        scores: NDArray[np.float32] = module.logits(module(torch.tensor([tokens])))[0].numpy()
    return scores


def text(seed: int, length: int = LENGTH) -> list[int]:
    tokens: list[int] = np.random.default_rng(seed).integers(0, TOKENS, length).tolist()
    return tokens


def table(count: int) -> list[int]:
    return list(range(-(-count // BLOCK)))


def all_rows(executor: NativeExecutor, tokens: list[int], start: int = 0) -> NDArray[np.float32]:
    """Scores after each of the tokens, which begin at ``start``, in one step."""
    end = start + len(tokens)
    model_input = ModelInput(tokens, start, table(end), ROW, (ROW,) * (len(tokens) - 1))
    return executor.model.logits([model_input])


def check_close(
    found: NDArray[np.float32], expected: NDArray[np.float32], isa: str, rounding: float = 0.0
) -> None:
    """Compare scores, in standard deviations of all.

    Both sides compute in float32 from the same bfloat16 weights and differ in the order of their
    sums: some 1e-6 a layer, and some 1e-5 in the worst of all scores. Where something is rounded
    to 8 bits on purpose, the root of the mean square is compared: the bfloat16 instruction rounds
    activations.
    """
    error = (found - expected) / expected.std()
    rounding = max(rounding, 0.05 if isa == "avx512bf16" else 0.0)
    if rounding:
        assert np.sqrt(np.mean(error**2)) < rounding
    else:
        assert np.abs(error).max() < 1e-4


@pytest.fixture(params=kernels())
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("INGOT_ISA", request.param)
    return str(request.param)


def test_scores_are_those_of_the_torch_module(ingot: Ingot, isa: str) -> None:
    """At position 0, past the window and past the original context, in prompt and decode."""
    tokens = text(1)
    expected = scores_of(module_of(ingot), tokens)
    executor = NativeExecutor(ingot, num_blocks=16, kv_cache="f32")
    assert executor.model.kernels == isa
    found = all_rows(executor, tokens[:-3])
    singly = [all_rows(executor, tokens[i : i + 1], i) for i in range(LENGTH - 3, LENGTH)]
    found = np.concatenate((found, *singly))
    check_close(found, expected, isa)


def test_hidden_states_are_those_after_the_last_norm(ingot: Ingot, isa: str) -> None:
    tokens = text(11, 40)
    with torch.inference_mode():
        expected = module_of(ingot)(torch.tensor([tokens]))[0].numpy()
    executor = NativeExecutor(ingot, num_blocks=16, kv_cache="f32")
    [result] = executor.step([ModelInput(tokens, 0, table(40), None, hidden=True)])
    assert isinstance(result, HiddenStates)
    check_close(result.states, expected, isa)


def test_64_tokens_are_those_of_the_torch_module(ingot: Ingot) -> None:
    prompt = text(2, 40)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INGOT_ISA", next(name for name in kernels() if name != "avx512bf16"))
        executor = NativeExecutor(ingot, num_blocks=16, kv_cache="f32")
    tokens, start = list(prompt), 0
    for _ in range(64):
        asked = ModelInput(tokens[start:], start, table(len(tokens)), ROW)
        [drawn] = executor.step([asked])
        assert isinstance(drawn, SampledToken)
        start = len(tokens)
        tokens.append(drawn.token_id)
    scores = scores_of(module_of(ingot), tokens)[len(prompt) - 1 : -1, :TOKENS]
    best = np.sort(scores, axis=1)
    # Another token may win only where the two are closer than float32's rounding.
    assert (best[:, -1] - best[:, -2]).min() > 1e-4 * scores.std()
    assert scores.argmax(axis=1).tolist() == tokens[len(prompt) :]


def test_scores_do_not_depend_on_batch_or_cuts(ingot: Ingot, isa: str) -> None:
    weights: Any = ("bf16", "int8", "int4")[kernels().index(isa) % 3]
    texts = [text(seed, length) for seed, length in ((4, 130), (5, 70), (6, 1), (7, 33))]
    kv_cache: Any = {"bf16": "bf16", "int8": "int8", "int4": "f32"}[weights]
    rng = np.random.default_rng(3)
    alone = NativeExecutor(ingot, num_blocks=16, threads=1, weights=weights, kv_cache=kv_cache)
    crowd = NativeExecutor(ingot, num_blocks=64, threads=3, weights=weights, kv_cache=kv_cache)
    blocks = rng.permutation(64).tolist()
    tables = [[blocks.pop() for _ in table(len(tokens))] for tokens in texts]
    expected = [all_rows(alone, tokens) for tokens in texts]
    done = [0] * len(texts)
    while unfinished := [i for i, tokens in enumerate(texts) if done[i] < len(tokens)]:
        inputs, ends = [], []
        for i in rng.permutation(unfinished)[: rng.integers(1, len(texts) + 1)]:
            count = int(rng.integers(1, min(len(texts[i]) - done[i], 50) + 1))
            ids = texts[i][done[i] : done[i] + count]
            inputs.append(ModelInput(ids, done[i], tables[i], ROW))
            done[i] += count
            ends.append((i, done[i]))
        for (i, end), scores in zip(ends, crowd.model.logits(inputs), strict=True):
            assert np.array_equal(scores, expected[i][end - 1])


@pytest.mark.parametrize(
    ("family", "kind"),
    [
        *((family, "int4") for family in FAMILIES),
        *((family, "int8") for family in ("qwen2", "smollm2", "olmo2", "gemma3", "gpt2")),
    ],
)
def test_quantized_ingots_are_computed_from_their_codes(
    family: str, kind: Any, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    """What is left is the rounding of activations to int8."""
    tokens = text(8)
    config = ModelConfig(**SIZES | FAMILIES[family])
    with sealed(config, tokenizer, tmp_path, Scheme(kind)) as ingot:
        expected = scores_of(module_of(ingot), tokens)
        executor = NativeExecutor(ingot, num_blocks=16, kv_cache="f32")
        digests = {name: record.sha256 for name, record in ingot.manifest.tensors.items()}
        assert executor.weight_digests() == digests
        found = all_rows(executor, tokens)
    check_close(found, expected, kernels()[0], 0.12)


# Of Llama 3.2 and SmolLM2, Phi-2, Phi-3, most others, Gemma 3; and one of which 16 is no divisor.
@pytest.mark.parametrize("head_dim", [64, 80, 96, 128, 256, 72])
def test_widths_of_heads(
    head_dim: int, tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = {"head_dim": head_dim, "num_hidden_layers": 2, "qk_norm": "none"}
    config = ModelConfig(**SIZES | changes | {"partial_rotary_factor": 0.5})
    tokens = text(9, 90)
    caches: tuple[tuple[Any, float], ...] = (("f32", 0.0), ("bf16", 0.02), ("int8", 0.05))
    with sealed(config, tokenizer, tmp_path) as ingot:
        expected = scores_of(module_of(ingot), tokens)
        for isa in kernels():
            monkeypatch.setenv("INGOT_ISA", isa)
            for kv_cache, rounding in caches:
                executor = NativeExecutor(ingot, num_blocks=16, kv_cache=kv_cache)
                check_close(all_rows(executor, tokens), expected, isa, rounding)


def test_a_head_that_is_too_wide_is_refused(tokenizer: Tokenizer, tmp_path: Path) -> None:
    config = ModelConfig(**SIZES | {"head_dim": 1026})
    with (
        sealed(config, tokenizer, tmp_path) as ingot,
        pytest.raises(UsageError, match="the head width is not even, or above 1024"),
    ):
        NativeExecutor(ingot, num_blocks=4)


def test_the_context_chooses_between_the_frequencies_of_longrope(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    config = ModelConfig(**SIZES | FAMILIES["phi3"])
    tokens = text(10, 60)
    with sealed(config, tokenizer, tmp_path) as ingot:
        found = {}
        for context in (64, 65, None):
            executor = NativeExecutor(ingot, num_blocks=16, kv_cache="f32", context=context)
            found[context] = all_rows(executor, tokens)
            expected = scores_of(module_of(ingot, context), tokens)
            check_close(found[context], expected, kernels()[0])
    assert np.array_equal(found[65], found[None])
    assert not np.allclose(found[64], found[65], atol=0.01)
