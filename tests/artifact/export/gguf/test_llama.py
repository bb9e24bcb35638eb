"""llama.cpp itself reads what is written: scores, tokens, and the same bytes of Q4_K.

It needs ``python -m benchmarks.peers install llama``.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch

from benchmarks.peers.environments import ENVIRONMENTS
from benchmarks.peers.parity import ParityRequest, ask_parity
from ingot.artifact import Provenance, freeze
from ingot.artifact.export import export_gguf
from ingot.model import ModelConfig, Tokenizer
from ingot.model.special_tokens import SpecialTokens
from tests.artifact.export.conftest import SIZES, Make, drawn
from tests.artifact.export.family_configs import CONFIGS
from tests.artifact.export.gguf.test_sentencepiece import PREFIX, content
from tests.artifact.export.test_hugging_face import IDS, our_logits

LLAMA = ENVIRONMENTS["llama"]
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not LLAMA.installed, reason="llama.cpp is not installed under .peers/"),
]
# llama.cpp has no window for these architectures.
COMPUTED = {
    name: config
    for name, (_, config) in CONFIGS.items()
    if config.sliding_window is None or name in ("olmo3", "gemma3")
}
# Its GELU is a table of float16 numbers.
ROUNDED = {"gemma3", "gpt2"}


@pytest.mark.parametrize("name", COMPUTED)
def test_llama_cpp_computes_the_same(make: Make, tmp_path: Path, name: str) -> None:
    ids = IDS[0, :56].tolist()
    request = ParityRequest([ids[:8]], 8, [ids])
    with make(config=COMPUTED[name], dtype="float32") as ingot:
        made = export_gguf(ingot, tmp_path / "small.gguf", kind="f32")
        scores = our_logits(ingot, torch.tensor([ids]))[0, :-1].double()
        found = ask_parity("llama", made.path, request, "1")
        greedy = our_logits(ingot, torch.tensor([ids[:8] + found.answers[0]]))[0, 7:-1]
    wanted = torch.nn.functional.cross_entropy(scores, torch.tensor(ids[1:])).item()
    assert found.loss == pytest.approx(wanted, abs=1e-3 if name in ROUNDED else 1e-5)
    chosen = greedy.gather(-1, torch.tensor(found.answers[0])[:, None])[:, 0]
    assert (greedy.amax(-1) - chosen).max() < (1e-2 if name in ROUNDED else 1e-4)


TOKENIZE = """
import json, sys
from llama_cpp import Llama
model = Llama(sys.argv[1], vocab_only=True, verbose=False)
texts = json.loads(sys.stdin.read())
print(json.dumps([model.tokenize(text.encode(), add_bos=True, special=False) for text in texts]))
"""
TEXTS = [
    "def area(width, height):\n\n    return  width*12345 <|endoftext|>",
    "naïve café — 東京 🦊\t\r\n  x",
    "It's THEY'LL 1234567 a  b\n\n\n",
]


def tokenized(path: Path, texts: list[str]) -> list[list[int]]:
    """What llama.cpp makes of texts."""
    done = subprocess.run(
        [LLAMA.python, "-c", TOKENIZE, path],
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        check=True,
    )
    found: list[list[int]] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_llama_cpp_cuts_text_into_our_tokens(make: Make, tmp_path: Path) -> None:
    with make() as ingot:
        made = export_gguf(ingot, tmp_path / "small.gguf")
        expected = [ingot.tokenizer.encode(text) for text in TEXTS]
    assert tokenized(made.path, TEXTS) == expected


@pytest.mark.parametrize("normalizer", [None, PREFIX[1]], ids=["prefix", "gemma"])
def test_llama_cpp_cuts_text_as_sentencepiece(
    small_config: ModelConfig, tmp_path: Path, normalizer: object
) -> None:
    described = content(normalizer)
    mark = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}
    described["decoder"] = {
        "type": "Sequence",
        "decoders": [mark, {"type": "ByteFallback"}, {"type": "Fuse"}],
    }
    special = SpecialTokens({"eos_token": "</s>", "bos_token": "<s>", "unk_token": "<unk>"})
    tokenizer = Tokenizer.from_json(json.dumps(described), special)
    weights = drawn(small_config)
    out, texts = tmp_path / "a.ingot", ["where the here", "there  in a wherein, é.", "hehe he"]
    with freeze(weights, small_config, tokenizer, out, provenance=Provenance()) as ingot:
        made = export_gguf(ingot, tmp_path / "small.gguf")
    assert tokenized(made.path, texts) == [tokenizer.encode(text) for text in texts]


QUANTIZE = """
import llama_cpp, sys
params = llama_cpp.llama_model_quantize_default_params()
params.ftype, params.pure = int(sys.argv[3]), True
source, out = (each.encode() for each in sys.argv[1:3])
assert llama_cpp.llama_model_quantize(source, out, params) == 0
"""


def test_q4_k_is_what_llama_cpp_writes(make: Make, tmp_path: Path) -> None:
    config = ModelConfig(**{**SIZES, "hidden_size": 256})  # type: ignore[arg-type]
    theirs = tmp_path / "theirs.gguf"
    with make(config=config, dtype="float32") as ingot:
        full = export_gguf(ingot, tmp_path / "full.gguf", kind="f32").path
        ours = export_gguf(ingot, tmp_path / "ours.gguf", kind="q4_k").path
    subprocess.run([LLAMA.python, "-c", QUANTIZE, full, theirs, "14"], check=True)
    read = {tensor.name: tensor for tensor in gguf.GGUFReader(theirs).tensors}
    compared = 0
    for tensor in gguf.GGUFReader(ours).tensors:
        other = read[tensor.name]
        if tensor.tensor_type.name == other.tensor_type.name == "Q4_K":
            same = np.mean(tensor.data == other.data)
            assert same > 0.995, tensor.name  # sums in another order choose another scale at times
            compared += 1
    assert compared > 5
