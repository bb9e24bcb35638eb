from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingot.errors import ArtifactError
from ingot.model import Tokenizer
from ingot.server.engine.encoder_process import EncoderProcess

TOKENIZER = Tokenizer.train(["def area(width, height):\n    return width * height\n"] * 4, 300)


@pytest.fixture(scope="module")
def encoder() -> Iterator[EncoderProcess]:
    encoder = EncoderProcess(TOKENIZER)
    yield encoder
    encoder.close()


@pytest.mark.parametrize("text", ["", "def", "<|endoftext|>" * 3, "☃" * 70_000, "a" * 300_000])
def test_the_ids_are_the_tokenizers_own(encoder: EncoderProcess, text: str) -> None:
    assert encoder.encode(text).tolist() == TOKENIZER.encode(text)


def test_any_text(encoder: EncoderProcess) -> None:
    @settings(max_examples=200, deadline=None)
    @given(st.text())
    def same(text: str) -> None:
        assert encoder.encode(text).tolist() == TOKENIZER.encode(text)

    same()


def test_it_yields_to_the_engine(encoder: EncoderProcess) -> None:
    """FAULTS A4: long texts take what the engine leaves, and no lock of the server's."""
    encoder.encode("def")
    assert encoder._process is not None
    assert os.getpriority(os.PRIO_PROCESS, encoder._process.pid) > os.nice(0)


def test_one_that_died_is_started_again(encoder: EncoderProcess) -> None:
    encoder.encode("def")
    assert encoder._process is not None
    encoder._process.kill()
    encoder._process.wait()
    with pytest.raises(ArtifactError, match="fails on this text"):
        encoder.encode("def")
    assert encoder.encode("def").tolist() == TOKENIZER.encode("def")


def test_closing_does_not_wait_for_a_text(wait_until: Callable[[Callable[[], bool]], None]) -> None:
    encoder = EncoderProcess(TOKENIZER)
    ended: list[BaseException] = []

    def encode() -> None:
        try:
            while True:
                encoder.encode("ab " * 1_000_000)
        except ArtifactError as error:
            ended.append(error)

    thread = threading.Thread(target=encode)
    thread.start()
    wait_until(lambda: encoder._process is not None)
    encoder.close()
    thread.join(300)
    assert ended
    assert encoder._process is None
