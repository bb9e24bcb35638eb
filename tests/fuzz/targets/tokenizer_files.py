"""Small files of foreign models, of every kind of tokenizer; then texts and a conversation.

An input is a JSON object of file names and what they hold, as text.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from random import Random
from typing import Any

from ingot.model import StreamDecoder
from ingot.model.chat import ChatTemplate, template_for
from ingot.model.generation_config import GenerationDefaults
from ingot.model.tokenizer_files import read_tokenizer
from ingot.strict_json import parse_object
from tests.fuzz.mutate import dump, mutate_bytes, mutate_json
from tests.model.published_tokenizers import KINDS, files

_ROWS = 700
_TEXT = "some text\n  of WORDS, numbers 123 and é中😀▁ <s> <|endoftext|>" * 8
_GENERATION = b'{"eos_token_id": [2, 1], "temperature": 0.6, "top_k": 20}'
_TEMPLATES = (
    "{{ bos_token }}{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}",
    "{% for m in messages %}{{ m.content * 100000000 }}{% endfor %}",
    "{% for i in range(10 ** 12) %}{% for j in range(10 ** 9) %}{% endfor %}{% endfor %}",
    "{{ ''.__class__.__mro__ }}{{ messages | tojson(indent=1000000) }}",
    "{% macro a(n) %}{{ a(n + 1) }}{% endmacro %}{{ a(0) }}",
)


def _folder(kind: str) -> dict[str, Any]:
    folder = {name: data.decode() for name, data in files(kind).items()}
    return folder | {"generation_config.json": _GENERATION.decode()}


@functools.cache
def examples() -> Sequence[bytes]:
    return [dump(_folder(kind)) for kind in KINDS]


def make(random: Random) -> bytes:
    folder = _folder(random.choice(sorted(KINDS)))
    if random.random() < 0.3:
        folder["chat_template.jinja"] = random.choice(_TEMPLATES)
    name = random.choice(sorted(folder))
    text = folder[name].encode()
    if name.endswith(".json") and random.random() < 0.8:
        content = json.loads(text)
        if name == "tokenizer.json" and random.random() < 0.8:  # rarely in the long vocabulary
            part = random.choice([key for key in content if key != "model"])
            content[part] = mutate_json(random, content[part])
            text = dump(content)
        else:
            text = dump(mutate_json(random, content))
    elif random.random() < 0.8:
        text = mutate_bytes(random, text)
    folder[name] = text.decode(errors="replace")
    return dump(folder)


def attempt(data: bytes) -> None:
    given = parse_object(data, where="input")
    folder = {name: text.encode() for name, text in given.items() if isinstance(text, str)}
    tokenizer = read_tokenizer(folder, rows=_ROWS)
    if "generation_config.json" in folder:
        GenerationDefaults.parse(folder["generation_config.json"]).sampling()
    ids = [*tokenizer.prefix, *tokenizer.encode(_TEXT), *tokenizer.encode(_TEXT, continues=True)]
    assert tokenizer.unknown(ids) is None
    assert tokenizer.unknown(sorted(tokenizer.stop_ids)) is None
    decoder = StreamDecoder(tokenizer)
    assert "".join(map(decoder.push, ids)) + decoder.flush() == tokenizer.decode(ids)
    again = read_tokenizer(
        {
            "tokenizer.json": tokenizer.to_json().encode(),
            "tokenizer_config.json": tokenizer.hf_config(64).encode(),
        },
        rows=_ROWS,
    )
    assert (again.table, again.prefix, again.eos_id) == (
        tokenizer.table,
        tokenizer.prefix,
        tokenizer.eos_id,
    )
    if "chat_template.jinja" in folder:
        with ChatTemplate(template_for(tokenizer), seconds=0.2, characters=1 << 16) as template:
            template.encode(tokenizer, [{"role": "user", "content": _TEXT}])
