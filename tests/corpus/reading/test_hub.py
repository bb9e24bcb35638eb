from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from ingot.corpus import CorpusConfig, build_corpus
from ingot.corpus.reading.hub import DatasetName
from ingot.errors import CorpusError

WITHOUT = """
import sys
sys.modules["datasets"] = None
from pathlib import Path
from ingot.corpus import CorpusConfig, build_corpus
from ingot.errors import CorpusError
try:
    build_corpus([Path("hf:owner/name")], Path(sys.argv[1]), CorpusConfig(vocab_size=300))
except CorpusError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hf:owner/name", ("owner/name", None, "train")),
        ("hf:name", ("name", None, "train")),
        ("hf:owner/name:en", ("owner/name", "en", "train")),
        ("hf:owner/name:20231101.en:test", ("owner/name", "20231101.en", "test")),
        ("hf:owner/name::validation", ("owner/name", None, "validation")),
    ],
)
def test_names_are_read(text: str, expected: tuple[str, str | None, str]) -> None:
    found = DatasetName.parse(text)
    assert (found.name, found.config, found.split) == expected


@pytest.mark.parametrize(
    "text",
    [
        "hf:",
        "hf:a/b/c",
        "hf:../x",
        "hf:/etc",
        "hf:a/b:c:d:e",
        "hf:a b",
        "hf:a/b:c d",
        "hf:a/b:../c",
    ],
)
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(CorpusError, match="is not the name of a dataset; write hf:owner/name"):
        DatasetName.parse(text)


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A dataset in the working folder, which ``datasets`` finds by the same kind of name."""
    pytest.importorskip("datasets")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = tmp_path / "owner" / "name"
    folder.mkdir(parents=True)
    texts = [f"document {number} says {number * 7} and {number * 13}" for number in range(200)]
    table = pa.table({"text": [*texts, None], "id": range(201)})
    parquet.write_table(table, folder / "train.parquet")
    parquet.write_table(table.slice(0, 50), folder / "test.parquet")
    return texts


def test_a_dataset_is_streamed_into_a_corpus(dataset: list[str], tmp_path: Path) -> None:
    config = CorpusConfig(vocab_size=300, validation_fraction=0.1)
    built = build_corpus([Path("hf:owner/name")], tmp_path / "corpus", config)
    manifest = built.manifest
    assert manifest.train.documents + manifest.validation.documents == len(dataset)
    assert manifest.skipped["empty"].examples == ("hf:owner/name:201",)
    ids = built.train.read(0, len(built.train)).tolist()
    assert "document 150 says" in built.tokenizer.decode(ids)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus", "owner"]
    test = build_corpus([Path("hf:owner/name::test")], tmp_path / "test", config).manifest
    assert test.train.documents + test.validation.documents == 50


def test_a_column_that_is_not_there_is_named(dataset: list[str], tmp_path: Path) -> None:
    for field in ("body", "id"):
        config = CorpusConfig(vocab_size=300, json_field=field)
        message = (
            f"hf:owner/name: has no column '{field}' of text; name the one that holds text, "
            "of 'text': --set corpus.json_field=text"
        )
        with pytest.raises(CorpusError, match=message):
            build_corpus([Path("hf:owner/name")], tmp_path / "corpus", config)
    assert [path.name for path in tmp_path.iterdir()] == ["owner"]


def test_a_split_that_is_not_there_is_said_in_one_line(dataset: list[str], tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"::dev: could not be fetched .*dev") as caught:
        build_corpus([Path("hf:owner/name::dev")], tmp_path / "corpus", CorpusConfig())
    assert "\n" not in str(caught.value)


def test_without_the_package_it_says_what_to_install(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, str(tmp_path / "corpus")],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert done.stdout == (
        "hf:owner/name: reading from the hub needs datasets, which is not installed; "
        "pip install 'ingot[hub]'\n"
    )
    assert list(tmp_path.iterdir()) == []
