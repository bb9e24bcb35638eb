from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ingot.inference import OutputDelta, TokenLogprob
from ingot.server.engine.stream import join

deltas = st.builds(
    OutputDelta,
    text=st.text(max_size=3),
    token_ids=st.lists(st.integers(0, 9), max_size=3).map(tuple),
    logprobs=st.lists(st.builds(TokenLogprob, st.integers(0, 9), st.just(-1.0), st.just(()))).map(
        tuple
    ),
)


@given(st.lists(deltas, min_size=1, max_size=5), st.sampled_from(["stop", "length", "error"]))
def test_joined_deltas_say_the_same(pieces: list[OutputDelta], reason: str) -> None:
    pieces.append(OutputDelta("", (), finish_reason=reason, error="why"))  # type: ignore[arg-type]
    joined = join(pieces)
    assert joined.text == "".join(piece.text for piece in pieces)
    assert list(joined.token_ids) == [token for piece in pieces for token in piece.token_ids]
    assert list(joined.logprobs) == [entry for piece in pieces for entry in piece.logprobs]
    assert (joined.finish_reason, joined.error) == (reason, "why")
