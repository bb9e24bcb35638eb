"""Models of the Hugging Face hub by name: safetensors, config, tokenizer and licence alone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ingot.artifact.import_.hugging_face import SourceName
from ingot.artifact.source_kind import HUB_PREFIX
from ingot.errors import ArtifactError, Interrupted, UsageError

_NAME = re.compile(r"[\w-][\w.-]{0,95}/[\w-][\w.-]{0,95}", re.ASCII)
_REVISION = re.compile(r"[\w][\w./-]{0,199}", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_WANTED = (
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "model-*.safetensors",
    "model.safetensors.index.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "chat_template.json",
    "README.md",
    "LICEN[CS]E*",
    "NOTICE*",
    "USE_POLICY*",
)
_ADAPTER = ("adapter_config.json", "adapter_model.safetensors", "README.md")


@dataclass(frozen=True)
class HubName:
    """``hf:ORG/NAME[@REVISION]``; without a revision, the main branch."""

    repository: str
    revision: str | None = None

    @classmethod
    def parse(cls, text: str) -> HubName:
        """Parse a name.

        Raises:
            UsageError: the name is malformed.
        """
        repository, at, revision = text.removeprefix(HUB_PREFIX).partition("@")
        if not _NAME.fullmatch(repository) or (at and not _REVISION.fullmatch(revision)):
            raise UsageError(
                "is not the name of a model", where=text, fix="write hf:ORG/NAME[@REVISION]"
            )
        return cls(repository, revision or None)


def fetch(source: str, *, adapter: bool = False) -> tuple[Path, SourceName]:
    """Fetch a model of the hub into huggingface_hub's cache; return its folder and its name.

    What is in the cache already is not fetched again, an interrupted download is continued, and
    where ``HF_HUB_OFFLINE`` is set, or the hub cannot be reached, the cache alone is used.
    ``HF_ENDPOINT``, ``HF_HOME`` and ``HF_TOKEN`` mean what they mean to huggingface_hub.

    Args:
        source: ``hf:ORG/NAME[@REVISION]``.
        adapter: Fetch the files of a PEFT adapter instead.

    Raises:
        UsageError: the name is malformed.
        ArtifactError: the model does not exist, needs a login, or cannot be fetched.
    """
    name = HubName.parse(source)
    from huggingface_hub import errors, snapshot_download  # noqa: PLC0415  half a second

    try:
        found = snapshot_download(
            name.repository,
            revision=name.revision,
            allow_patterns=list(_ADAPTER if adapter else _WANTED),
            ignore_patterns=["*/*"],
        )
    except Interrupted:
        raise
    except errors.GatedRepoError as error:
        fix = "accept its terms on the hub, and set HF_TOKEN"
        raise ArtifactError("needs a login", where=source, fix=fix) from error
    except errors.RepositoryNotFoundError as error:
        fix = "check the name, and set HF_TOKEN if it is private"
        raise ArtifactError("does not exist on the hub", where=source, fix=fix) from error
    except errors.RevisionNotFoundError as error:
        fix = "name a branch, a tag or a commit"
        raise ArtifactError("has no such revision", where=source, fix=fix) from error
    except errors.LocalEntryNotFoundError as error:
        raise ArtifactError(
            "is not in the cache, and the hub cannot be reached",
            where=source,
            fix="check the network, HF_ENDPOINT and HF_HUB_OFFLINE",
        ) from error
    except Exception as error:  # the library raises whatever its many layers raise
        raise ArtifactError(
            f"could not be fetched ({_first_line(error)})",
            where=source,
            fix="run the same command again; what was fetched is kept",
        ) from error
    folder = Path(found)
    revision = folder.name if _COMMIT.fullmatch(folder.name) else name.revision
    return folder, SourceName(f"{HUB_PREFIX}{name.repository}", revision)


def _first_line(error: Exception) -> str:
    """Return what a library's error of many lines says first."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
