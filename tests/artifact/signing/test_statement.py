from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from ingot.artifact.signing.statement import signed_digests, statement
from ingot.errors import ArtifactError

DIGESTS = {"b": "2" * 64, "a": "1" * 64}


def edited(edit: Callable[[dict[str, Any]], object]) -> bytes:
    content = json.loads(statement("a model", DIGESTS))
    edit(content)
    return json.dumps(content).encode()


def test_a_round_trip_in_the_order_of_names() -> None:
    payload = statement("a model", DIGESTS)
    assert list(signed_digests(payload, where="x.sig").items()) == sorted(DIGESTS.items())
    content = json.loads(payload)
    root = hashlib.sha256(bytes.fromhex("1" * 64 + "2" * 64)).hexdigest()
    assert content["subject"] == [{"name": "a model", "digest": {"sha256": root}}]


def test_fields_of_in_toto_and_the_subjects_name_are_free() -> None:
    def edit(content: dict[str, Any]) -> None:
        content["subject"][0]["name"] = "model"
        content["predicate"]["resources"][0]["media_type"] = "text/plain"
        content["predicate"]["serialization"].pop("ignore_paths")
        content["predicate"]["serialization"]["allow_symlinks"] = True

    assert signed_digests(edited(edit), where="x.sig") == DIGESTS


def of(key: str, **values: object) -> Callable[[dict[str, Any]], object]:
    return lambda content: content["predicate"][key].update(values)


def resource(**values: object) -> Callable[[dict[str, Any]], object]:
    return lambda content: content["predicate"]["resources"][1].update(values)


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda it: it.pop("subject"), "the statement: subject is missing"),
        (lambda it: it.update(more=1), "the statement: unknown field 'more'"),
        (lambda it: it.update(_type="text"), "_type is not https://in-toto.io/Statement/v1"),
        (lambda it: it.update(predicate=7), "predicate is not an object"),
        (lambda it: it["predicate"].update(resources=[]), "resources is not a list of files"),
        (lambda it: it["predicate"].update(resources=[7]), r"resources\[0\] is not an object"),
        (lambda it: it["predicate"]["resources"].reverse(), "not in the order of the names"),
        (
            lambda it: it["predicate"]["resources"].append(it["predicate"]["resources"][1]),
            "not in the order of the names, each once",
        ),
        (resource(name=""), "name is not a text"),
        (resource(digest="2" * 63), "digest is not a SHA-256"),
        (resource(digest="g" * 64), "digest is not a SHA-256"),
        (resource(digest="3" * 64), "subject: digest is not that of the resources"),
        (resource(algorithm="blake3"), "algorithm is not sha256"),
        (of("serialization", method="shards", shard_size=5), "in shards, which Ingot does not"),
        (of("serialization", method="tree"), "method is neither files nor shards"),
        (of("serialization", hash_type="blake2b"), "with 'blake2b', which Ingot does not check"),
        (of("serialization", shard_size=5), "unknown field 'shard_size'"),
        (of("serialization", allow_symlinks=1), "allow_symlinks is not true or false"),
        (of("serialization", ignore_paths="x"), "ignore_paths is not a list of texts"),
        (lambda it: it["subject"].append({}), "subject is not one model"),
        (lambda it: it["subject"][0].update(name=""), "subject: name is not a text"),
        (lambda it: it["subject"][0].update(digest="x"), "subject.digest is not an object"),
    ],
)
def test_another_statement_is_refused_by_name(
    edit: Callable[[dict[str, Any]], object], said: str
) -> None:
    with pytest.raises(ArtifactError, match=f"^x.sig: .*{said}"):
        signed_digests(edited(edit), where="x.sig")
