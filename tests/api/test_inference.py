from __future__ import annotations

import concurrent.futures
import json
from pathlib import Path

import pytest

import ingot
from ingot.api import inference
from ingot.errors import ArtifactError, UsageError
from ingot.inference import SamplingParams
from ingot.model.chat import ChatTemplate
from tests.artifact.resealing import copy_writable, reseal

QUESTION = [{"role": "user", "content": "def"}]


def test_a_conversation_goes_through_the_chat_template(sealed: Path) -> None:
    with inference.load(sealed) as model, ChatTemplate() as template:
        ids = template.encode(model.ingot.tokenizer, QUESTION)
        answer = model.chat(QUESTION, max_tokens=8, temperature=0)
        assert model.ingot.tokenizer.decode(ids) != "def"
        params = SamplingParams(max_tokens=8, temperature=0)
        deltas = model.loop.stream(ids, params, 300)
        assert answer.token_ids == tuple(token for delta in deltas for token in delta.token_ids)
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            answers = [
                pool.submit(model.chat, QUESTION, max_tokens=8, temperature=0) for _ in range(8)
            ]
        assert {each.result().token_ids for each in answers} == {answer.token_ids}


def test_a_template_may_write_no_more_than_the_context_holds(sealed: Path, tmp_path: Path) -> None:
    """FAULTS A7: one template wrote 16 million characters for one "hi": 8.8 GB."""
    path = copy_writable(sealed, tmp_path / "long.ingot")
    file = path / "tokenizer_config.json"
    # In two steps, so that it is the worker that counts what is written.
    template = "{{ messages[0].content }}{% for _ in range(n) %}{{ '☃' * 1000 }}{% endfor %}"
    for times, fits in ((1, True), (16_000, False)):
        written = template.replace("n)", f"{times})")
        file.write_text(json.dumps(json.loads(file.read_text()) | {"chat_template": written}))
        reseal(path)
        with inference.load(path) as model:
            characters = model.loop.max_context * model.ingot.tokenizer.longest_token
            assert 1000 < 2 * characters < 16_000_000
            what = "context" if fits else "makes too long a text"
            with pytest.raises(UsageError if fits else ArtifactError, match=what):
                model.chat(QUESTION, max_tokens=1)


def test_settings_of_the_server_are_keywords(sealed: Path) -> None:
    with ingot.load(sealed) as model:
        config = ingot.ServerConfig(port=1, max_sequences=3)
        with ingot.serve(model, config, port=0) as server:
            assert not server.url.endswith(":1")
            manifest = ingot.verify(sealed, live=server.url)
            assert manifest.digest == model.digest
            with pytest.raises(ingot.IngotError, match="unknown model 'another'"):
                ingot.verify(sealed, live=server.url, model="another")
        with pytest.raises(UsageError, match=r'unknown setting "prt"; did you mean "port"\?'):
            ingot.serve(model, prt=0)


def test_an_ingot_that_differs_is_refused(sealed: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"ingot\.json: is missing"):
        ingot.verify(tmp_path)
    assert ingot.verify(str(sealed)).provenance.steps == 30
