"""What is signed: an in-toto statement that lists the SHA-256 of every file of a model.

OpenSSF Model Signing 1.0, sections 5, 6.4 to 6.6 and 8.3; in-toto's Statement v1.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from ingot.errors import ArtifactError
from ingot.strict_json import parse_object

_TYPE = "https://in-toto.io/Statement/v1"
_PREDICATE_TYPE = "https://model_signing/signature/v1.0"
_NEVER_SIGNED = [".git", ".gitattributes", ".github", ".gitignore"]  # section 6.2
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MAX_VALUES = 50_000


def statement(name: str, digests: Mapping[str, str]) -> bytes:
    """Return the statement about a model.

    Args:
        name: What to call the model: the name of its folder.
        digests: SHA-256 in hexadecimal of each file, by its path below the folder.
    """
    ordered = dict(sorted(digests.items()))
    content = {
        "_type": _TYPE,
        "subject": [{"name": name, "digest": {"sha256": _root_digest(ordered)}}],
        "predicateType": _PREDICATE_TYPE,
        "predicate": {
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": False,
                "ignore_paths": _NEVER_SIGNED,
            },
            "resources": [
                {"name": file, "digest": digest, "algorithm": "sha256"}
                for file, digest in ordered.items()
            ],
        },
    }
    return json.dumps(content, indent=1).encode()


def signed_digests(payload: bytes, *, where: object) -> dict[str, str]:
    """Return the SHA-256 of each signed file by its name.

    ``ignore_paths`` is checked and not used: the caller decides which files must be signed.

    Args:
        payload: The statement, its signature already checked.
        where: What to call it in an error.

    Raises:
        ArtifactError: it is not a statement about a model, or hashes files in shards or with
            another function.
    """
    content = parse_object(payload, where=where, max_values=_MAX_VALUES)
    _only(content, {"_type", "subject", "predicateType", "predicate"}, "the statement", where)
    for key, expected in (("_type", _TYPE), ("predicateType", _PREDICATE_TYPE)):
        if content[key] != expected:
            raise _wrong(f"{key} is not {expected}", where)
    predicate = _object(content["predicate"], "predicate", where)
    _only(predicate, {"resources", "serialization"}, "predicate", where)
    _check_serialization(_object(predicate["serialization"], "serialization", where), where)
    digests = _resources(predicate["resources"], where)
    _check_subject(content["subject"], digests, where)
    return digests


def _root_digest(digests: Mapping[str, str]) -> str:
    """Hash the files' digests in turn (section 6.5.1)."""
    return hashlib.sha256(b"".join(map(bytes.fromhex, digests.values()))).hexdigest()


def _check_serialization(given: dict[str, Any], where: object) -> None:
    """Refuse files hashed in a way that Ingot does not repeat."""
    if given.get("method") == "shards":
        raise ArtifactError(
            "signs files in shards, which Ingot does not check",
            where=where,
            fix="sign with the method files",
        )
    names = {"method", "hash_type", "allow_symlinks", "ignore_paths"}
    _only(given, names, "serialization", where, optional={"ignore_paths"})
    if given["method"] != "files":
        raise _wrong("serialization: method is neither files nor shards", where)
    if given["hash_type"] != "sha256":
        raise ArtifactError(
            f"hashes files with {str(given['hash_type'])[:20]!r}, which Ingot does not check",
            where=where,
            fix="sign with sha256",
        )
    if not isinstance(given["allow_symlinks"], bool):
        raise _wrong("serialization: allow_symlinks is not true or false", where)
    paths = given.get("ignore_paths", [])
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise _wrong("serialization: ignore_paths is not a list of texts", where)


def _resources(given: object, where: object) -> dict[str, str]:
    """Return the digests that the statement lists. Unknown fields are ignored (section 5.2.1)."""
    if not isinstance(given, list) or not given:
        raise _wrong("resources is not a list of files", where)
    digests: dict[str, str] = {}
    for number, item in enumerate(given):
        name = f"resources[{number}]"
        entry = _object(item, name, where)
        _only(entry, {"name", "digest", "algorithm"}, name, where, others=True)
        if entry["algorithm"] != "sha256":
            raise _wrong(f"{name}: algorithm is not sha256", where)
        file, digest = entry["name"], entry["digest"]
        if not isinstance(file, str) or not file:
            raise _wrong(f"{name}: name is not a text", where)
        if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
            raise _wrong(f"{name}: digest is not a SHA-256", where)
        digests[file] = digest
    if len(digests) != len(given) or list(digests) != sorted(digests):
        raise _wrong("resources is not in the order of the names, each once", where)
    return digests


def _check_subject(given: object, digests: Mapping[str, str], where: object) -> None:
    """Refuse a subject that is not the model of these files. Its name is free."""
    if not isinstance(given, list) or len(given) != 1:
        raise _wrong("subject is not one model", where)
    subject = _object(given[0], "subject", where)
    _only(subject, {"name", "digest"}, "subject", where, others=True)
    if not isinstance(subject["name"], str) or not subject["name"]:
        raise _wrong("subject: name is not a text", where)
    if _object(subject["digest"], "subject.digest", where).get("sha256") != _root_digest(digests):
        raise _wrong("subject: digest is not that of the resources", where)


def _wrong(what: str, where: object) -> ArtifactError:
    return ArtifactError(f"does not sign a model ({what})", where=where)


def _object(given: object, name: str, where: object) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise _wrong(f"{name} is not an object", where)
    return given


def _only(
    given: Mapping[str, Any],
    names: set[str],
    what: str,
    where: object,
    *,
    optional: set[str] | frozenset[str] = frozenset(),
    others: bool = False,
) -> None:
    """Refuse missing fields, and unknown ones unless ``others`` are permitted."""
    for name in sorted(names - given.keys() - optional):
        raise _wrong(f"{what}: {name} is missing", where)
    for name in given.keys() - names:
        if not others:
            raise _wrong(f"{what}: unknown field {name[:80]!r}", where)
