from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from ingot.artifact import Ingot
from ingot.inference import TokenLogprob
from ingot.server.routes.logprobs import LogprobsWriter


def entries(ids: list[int]) -> list[TokenLogprob]:
    return [TokenLogprob(token_id, -1.0, ()) for token_id in ids]


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_offsets_point_into_the_text_however_it_is_cut(data: st.DataObject, ingot: Ingot) -> None:
    text = data.draw(st.text(max_size=12))
    ids = ingot.tokenizer.encode(text)
    cut = data.draw(st.integers(0, len(ids)))
    writer = LogprobsWriter(ingot.tokenizer)
    first, second = writer.write(entries(ids[:cut])), writer.write(entries(ids[cut:]))
    tokens = first.tokens + second.tokens
    offsets = first.text_offset + second.text_offset
    assert offsets == sorted(offsets)
    for token, offset in zip(tokens, offsets, strict=True):
        if not token.startswith("bytes:"):
            assert text[offset:].startswith(token)


def test_every_token_has_a_name_of_its_own(ingot: Ingot) -> None:
    everything = tuple((token_id, -1.0) for token_id in range(ingot.config.vocab_size))
    written = LogprobsWriter(ingot.tokenizer).write([TokenLogprob(40, -1.0, everything)])
    names = list(written.top_logprobs[0])
    assert len(names) == len(everything)
    assert names[ingot.tokenizer.eos_id] == "<|endoftext|>"


def test_the_chosen_token_is_always_listed(ingot: Ingot) -> None:
    entry = TokenLogprob(40, -5.0, ((41, -0.1), (42, -3.0)))
    written = LogprobsWriter(ingot.tokenizer).write([entry])
    assert written.token_logprobs == [-5.0]
    assert list(written.top_logprobs[0].values()) == [-0.1, -3.0, -5.0]
