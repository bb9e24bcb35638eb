"""Records what llama.cpp makes of SmolLM2, for ``test_smollm2.py``: MODEL.gguf OUT.json.

Runs in an environment of its own that has llama-cpp-python, gguf and numpy. The weights are written
as F32 first, dequantized by the gguf package: on the Q4_1 file llama.cpp rounds activations
to 8 bits. Keys and values are float32 too.
"""

from __future__ import annotations

import ctypes
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import gguf
import llama_cpp
import numpy as np

PROMPTS = [
    "The capital of France is",
    "Once upon a time",
    "def fibonacci(n):",
    "Water boils at",
    "The three laws of robotics are",
    "In 1969, humans",
    "To make a good cup of tea, you",
    "The opposite of hot is",
    "import numpy as np\n",
    "Roses are red,",
    "Q: What is 12 + 30?\nA:",
    "The largest planet in the solar system",
]
QUESTIONS = [
    "What is the capital of France?",
    "Write a haiku about rain.",
    "Explain what a prime number is.",
    "Name three fruits.",
    "Translate 'good morning' to French.",
    "Who wrote Hamlet?",
    "What is the boiling point of water in Celsius?",
    "Give me a tip for sleeping better.",
]
SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
TEXTS = [
    "Hello, world! It's 2026-11-29; 12345 + 67890.",
    "  leading and   inner   spaces\n\n\ttabs\r\n",
    "ünïcödé 日本語 한국어 العربية हिन्दी 😀👍🏽",
    "don't can't I'LL we've",
    "a\u0301 decomposed e\u0301",
    'x=1;y=2//3**4 <tag attr="v">',
    "½ Ⅷ ٣٤ \uff11\uff12",
    "<|im_start|>user\nhi<|im_end|>",
    "\u200b\ufeff\u00a0 end ",
]
NEW_TOKENS, WINDOW = 64, 512
LICENSE = Path(__file__).parents[4] / "LICENSE"


def as_float32(source: str, target: str) -> None:
    """Write a GGUF file again with every tensor as F32."""
    reader, writer = gguf.GGUFReader(source), gguf.GGUFWriter(target, "llama")
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue
        of = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
        content = 0 if field.name == "general.file_type" else field.contents()
        writer.add_key_value(field.name, content, field.types[0], sub_type=of)
    for tensor in reader.tensors:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        writer.add_tensor(tensor.name, values.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


class Llama:
    """A context in float32, one sequence."""

    def __init__(self, path: str) -> None:
        llama_cpp.llama_backend_init()
        self._log = llama_cpp.llama_log_callback(lambda *_: None)
        llama_cpp.llama_log_set(self._log, ctypes.c_void_p(0))
        of_model = llama_cpp.llama_model_default_params()
        self._model = llama_cpp.llama_model_load_from_file(path.encode(), of_model)
        self._vocab = llama_cpp.llama_model_get_vocab(self._model)
        self._size = llama_cpp.llama_vocab_n_tokens(self._vocab)
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = params.n_batch = 2048
        params.type_k = params.type_v = 0  # F32
        params.flash_attn_type = 0
        self._context = llama_cpp.llama_init_from_model(self._model, params)

    def tokens(self, text: str, *, special: bool) -> list[int]:
        data = text.encode()
        room = len(data) + 8
        ids = (llama_cpp.llama_token * room)()
        count = llama_cpp.llama_tokenize(self._vocab, data, len(data), ids, room, False, special)
        return list(ids[:count])

    def logits(self, ids: list[int], start: int, *, all_of_them: bool = False) -> Any:
        """Return the logits after the last token, or after each."""
        batch = llama_cpp.llama_batch_init(len(ids), 0, 1)
        batch.n_tokens = len(ids)
        for at, token in enumerate(ids):
            batch.token[at], batch.pos[at] = token, start + at
            batch.n_seq_id[at], batch.seq_id[at][0] = 1, 0
            batch.logits[at] = all_of_them or at == len(ids) - 1
        if llama_cpp.llama_decode(self._context, batch) != 0:
            raise RuntimeError("llama_decode failed")
        wanted = range(len(ids)) if all_of_them else [len(ids) - 1]
        found = [
            np.ctypeslib.as_array(
                llama_cpp.llama_get_logits_ith(self._context, at), (self._size,)
            ).copy()
            for at in wanted
        ]
        llama_cpp.llama_batch_free(batch)
        return np.stack(found) if all_of_them else found[0]

    def forget(self) -> None:
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self._context), True)

    def greedy(self, ids: list[int]) -> tuple[list[int], float]:
        """Return the continuation, and the least distance of the two best logits on the way."""
        self.forget()
        made: list[int] = []
        gap, fed = np.inf, ids
        while len(made) < NEW_TOKENS:
            logits = self.logits(fed, len(ids) + len(made) - len(fed))
            second, best = np.argsort(logits)[-2:]
            gap = min(gap, float(logits[best] - logits[second]))
            made.append(int(best))
            fed = [int(best)]
        return made, gap

    def loss(self, ids: list[int]) -> float:
        """Return the mean negative log-likelihood of all but the first token, in nats."""
        self.forget()
        logits = self.logits(ids, 0, all_of_them=True).astype(np.float64)[:-1]
        logits -= logits.max(axis=1, keepdims=True)
        chosen = logits[np.arange(len(ids) - 1), ids[1:]]
        return float((np.log(np.exp(logits).sum(axis=1)) - chosen).mean())


def main(source: str, target: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        as_float32(source, f"{folder}/f32.gguf")
        llama = Llama(f"{folder}/f32.gguf")
        asked = [
            f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n{question}<|im_end|>\n"
            "<|im_start|>assistant\n"
            for question in QUESTIONS
        ]
        prompts = [llama.tokens(text, special=True) for text in [*PROMPTS, *asked]]
        greedy = [llama.greedy(ids) for ids in prompts]
        license_ids = llama.tokens(LICENSE.read_text(), special=False)[: 2 * WINDOW]
        windows = [license_ids[:WINDOW], license_ids[WINDOW:]]
        record = {
            "llama_cpp": llama_cpp.__version__,
            "texts": TEXTS,
            "tokens": [llama.tokens(text, special=False) for text in TEXTS],
            "prompts": prompts,
            "greedy": [ids for ids, _ in greedy],
            "gaps": [round(gap, 6) for _, gap in greedy],
            "windows": windows,
            "losses": [llama.loss(ids) for ids in windows],
        }
    Path(target).write_text(json.dumps(record, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
