"""What a folder's small files say of a tokenizer, and what is refused of them."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from ingot.errors import ArtifactError
from ingot.model import Tokenizer
from ingot.model.chat import template_for
from ingot.model.generation_config import GenerationDefaults, generation_config
from ingot.model.special_tokens import SpecialTokens
from ingot.model.tokenizer_files import read_tokenizer
from tests.model.published_tokenizers import files, made


def changed(kind: str, **config: Any) -> dict[str, bytes]:
    """Return a kind's files with other values in ``tokenizer_config.json``."""
    given = dict(files(kind))
    whole = json.loads(given["tokenizer_config.json"]) | config
    return given | {"tokenizer_config.json": json.dumps(whole).encode()}


def rewritten(kind: str, change: Any) -> dict[str, bytes]:
    """Return a kind's files with a changed ``tokenizer.json``."""
    content = copy.deepcopy(json.loads(files(kind)["tokenizer.json"]))
    change(content)
    return files(kind) | {"tokenizer.json": json.dumps(content).encode()}


def test_every_list_of_ends_counts() -> None:
    tokenizer = read_tokenizer(
        files("llama3")
        | {
            "generation_config.json": b'{"eos_token_id": [3, 5]}',
            "config.json": b'{"eos_token_id": 7}',
        }
    )
    assert tokenizer.stop_ids == {tokenizer.eos_id, 3, 5, 7}
    assert tokenizer.eos_id == tokenizer.special_tokens["<|eot_id|>"]


def test_ends_that_are_no_tokens_do_not_count() -> None:
    ends = json.dumps({"eos_token_id": [3, 999_999]}).encode()
    tokenizer = read_tokenizer(files("phi4") | {"generation_config.json": ends})
    assert tokenizer.stop_ids == {tokenizer.eos_id, 3}
    hole = json.dumps({"eos_token_id": tokenizer.holes[0]}).encode()
    assert read_tokenizer(files("phi4") | {"config.json": hole}).stop_ids == {tokenizer.eos_id}


def test_the_end_may_be_known_by_its_id_alone() -> None:
    number = made("qwen").token_to_id("<|im_end|>")
    ends = json.dumps({"eos_token_id": [number, 5]}).encode()
    tokenizer = read_tokenizer(changed("qwen", eos_token=None) | {"generation_config.json": ends})
    assert tokenizer.eos_id == number
    assert tokenizer.special_names["eos_token"] == "<|im_end|>"
    with pytest.raises(ArtifactError, match="no token that ends a text"):
        read_tokenizer(changed("qwen", eos_token=None))


def test_older_folders_name_special_tokens_in_a_map() -> None:
    given = dict(files("llama2")) | {
        "special_tokens_map.json": files("llama2")["tokenizer_config.json"]
    }
    del given["tokenizer_config.json"]
    tokenizer = read_tokenizer(given)
    assert (tokenizer.bos_id, tokenizer.eos_id) == (1, 2)
    assert tokenizer.prefix == (1,), "the post-processor says so"


@pytest.mark.parametrize("kind", ["llama2", "llama3", "gemma"])
def test_settings_go_before_the_post_processor(kind: str) -> None:
    without = read_tokenizer(changed(kind, add_bos_token=False))
    assert (without.prefix, without.bos_id) == ((), read_tokenizer(files(kind)).bos_id)
    assert (
        Tokenizer.from_json(without.to_json(), SpecialTokens(without.special_names)).prefix == ()
    ), "so that every reader of tokenizer.json agrees"
    with_bos = read_tokenizer(changed("qwen", bos_token="<|im_start|>", add_bos_token=True))
    assert with_bos.prefix == (with_bos.special_tokens["<|im_start|>"],)


def test_templates_come_from_files_first() -> None:
    given = changed("qwen", chat_template="config")
    assert template_for(read_tokenizer(given)) == "config"
    given |= {"chat_template.json": b'{"chat_template": "json"}'}
    assert template_for(read_tokenizer(given)) == "json"
    given |= {"chat_template.jinja": b"file", "additional_chat_templates/tool_use.jinja": b"tools"}
    tokenizer = read_tokenizer(given)
    assert template_for(tokenizer) == "file"
    assert template_for(tokenizer, tools=True) == "tools"
    again = read_tokenizer(
        {
            "tokenizer.json": tokenizer.to_json().encode(),
            "tokenizer_config.json": tokenizer.hf_config().encode(),
        }
    )
    assert again.chat_templates == tokenizer.chat_templates


def test_a_models_own_special_tokens_have_names() -> None:
    tokenizer = read_tokenizer(
        changed("qwen", extra_special_tokens={"image_token": "<|im_start|>"})
    )
    assert tokenizer.special_names["image_token"] == "<|im_start|>"
    again = read_tokenizer(
        files("qwen") | {"tokenizer_config.json": tokenizer.hf_config().encode()}
    )
    assert again.special_names == tokenizer.special_names


def test_added_tokens_that_the_model_has_no_row_for_are_left_out() -> None:
    """Gemma 3's text models: a placeholder of images has the id after the last row."""
    rows = made("qwen").get_vocab_size() - 1
    tokenizer = read_tokenizer(files("qwen"), rows=rows)
    assert tokenizer.vocab_size == rows
    assert "</think>" not in tokenizer.to_json()
    with pytest.raises(ArtifactError, match="tokens, the model only 300"):
        read_tokenizer(files("smollm2"), rows=300)


def test_ids_are_those_of_the_file() -> None:
    """The library gives added tokens the next free ids, whatever the file says."""

    def apart(content: dict[str, Any]) -> None:
        content["added_tokens"][-1]["id"] += 10

    tokenizer = read_tokenizer(rewritten("qwen", apart))
    last = made("qwen").get_vocab_size() + 9
    assert tokenizer.encode("</think>") == [last]
    assert tokenizer.vocab_size == last + 1
    assert len(tokenizer.holes) == 10
    assert tokenizer.unknown([0, tokenizer.holes[3]]) == tokenizer.holes[3]


def test_a_high_id_does_not_make_a_long_table() -> None:
    def far(content: dict[str, Any]) -> None:
        content["added_tokens"][-1]["id"] = 1 << 23

    with pytest.raises(ArtifactError, match="the id 8388608, not below"):
        read_tokenizer(rewritten("qwen", far))
    assert "</think>" not in read_tokenizer(rewritten("qwen", far), rows=700).to_json()


def test_merges_cannot_spell_a_control_token() -> None:
    def spelled(content: dict[str, Any]) -> None:
        model = content["model"]
        model["vocab"] |= {"<|": 1000, "<|x": 1001, "<|x|>": 1002, "|>": 1003}
        model["merges"] += [["<", "|"], ["<|", "x"], ["|", ">"], ["<|x", "|>"]]
        token = dict(content["added_tokens"][0])
        content["added_tokens"].append(token | {"id": 1002, "content": "<|x|>"})
        content["pre_tokenizer"] = {
            "type": "ByteLevel",
            "add_prefix_space": False,
            "trim_offsets": True,
            "use_regex": False,
        }

    tokenizer = read_tokenizer(rewritten("gpt2", spelled))
    assert tokenizer.special_tokens["<|x|>"] == 1002
    ids = tokenizer.encode("<|x|>")
    assert 1002 not in ids
    assert tokenizer.decode(ids) == "<|x|>"


def test_a_control_token_that_its_letters_become_is_refused() -> None:
    def whole_words(content: dict[str, Any]) -> None:
        content["model"]["vocab"]["stop"] = 1000
        content["model"]["ignore_merges"] = True
        token = dict(content["added_tokens"][0])
        content["added_tokens"].append(token | {"id": 1000, "content": "stop"})

    with pytest.raises(ArtifactError, match="encodes the text 'stop' as the special token"):
        read_tokenizer(rewritten("gpt2", whole_words))


@pytest.mark.parametrize(
    ("config", "what"),
    [
        ({"add_eos_token": True}, "add_eos_token is not supported"),
        ({"do_lower_case": True}, "do_lower_case is not supported"),
        ({"add_bos_token": "yes"}, "add_bos_token must be true or false"),
        ({"eos_token": 3}, "eos_token must be a token"),
        ({"eos_token": "<nowhere>"}, "has no '<nowhere>', the model's eos_token"),
        ({"chat_template": 3}, "chat_template must be a text"),
        ({"chat_template": [{"name": "a"}]}, "chat_template must be a text"),
        ({"chat_template": "a" * (1 << 20) + "a"}, "is too long"),
    ],
    ids=str,
)
def test_what_cannot_be_followed_is_refused(config: dict[str, Any], what: str) -> None:
    with pytest.raises(ArtifactError, match=what):
        read_tokenizer(changed("qwen", **config))


@pytest.mark.parametrize("ends", ["[-1]", "true", "[[1]]", '"</s>"', "[" + "1," * 99 + "1]"])
def test_ends_that_are_no_ids_are_refused(ends: str) -> None:
    data = f'{{"eos_token_id": {ends}}}'.encode()
    with pytest.raises(ArtifactError, match="eos_token_id"):
        read_tokenizer(files("qwen") | {"generation_config.json": data})


def test_a_folder_without_a_tokenizer_is_refused() -> None:
    with pytest.raises(ArtifactError, match=r"tokenizer\.json: is missing"):
        read_tokenizer({"tokenizer_config.json": b"{}"})


def test_sampling_defaults_are_read_and_written() -> None:
    data = b'{"temperature": 0.6, "top_k": 20.0, "top_p": 0.95, "do_sample": true, "max_length": 9}'
    defaults = GenerationDefaults.parse(data)
    assert defaults.sampling() == {"temperature": 0.6, "top_k": 20, "top_p": 0.95}
    assert GenerationDefaults.parse(b'{"top_k": -1}').sampling() == {"top_k": 0}
    written = generation_config(defaults, read_tokenizer(files("llama3")))
    assert GenerationDefaults.parse(written) == defaults
    plain = Tokenizer.train(["some text"], 257)
    assert json.loads(generation_config(GenerationDefaults(), plain)) == {
        "bos_token_id": 0,
        "eos_token_id": 0,
        "pad_token_id": 0,
        "do_sample": True,
    }
    for bad in (b'{"temperature": -1}', b'{"top_p": "0.5"}', b'{"top_k": 1.5}', b"[]"):
        with pytest.raises(ArtifactError, match=r"generation_config\.json"):
            GenerationDefaults.parse(bad)
