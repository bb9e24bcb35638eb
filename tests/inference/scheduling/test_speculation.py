from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from ingot.inference import SamplingParams, Sequence
from ingot.inference.scheduling.speculation import propose

tokens = st.lists(st.sampled_from([0, 1, 256, 65536, 16843009]), min_size=1, max_size=40)


def sequence(prompt: list[int], output: list[int]) -> Sequence:
    made = Sequence(0, tuple(prompt), SamplingParams(), 0, lambda _: None)
    for token in output:
        made.append(token)
    return made


@settings(max_examples=150, deadline=None)
@given(tokens, tokens, st.integers(1, 6))
def test_what_followed_the_longest_latest_match_is_guessed(
    prompt: list[int], output: list[int], most: int
) -> None:
    text, wanted = prompt + output, ()
    for match in (4, 3, 2):
        starts = [
            offset
            for offset in range(len(text) - match)
            if text[offset : offset + match] == text[-match:]
        ]
        if starts:
            wanted = tuple(text[starts[-1] + match :][:most])
            break
    assert propose(sequence(prompt, output), most) == wanted


def test_what_stands_far_back_is_not_looked_at() -> None:
    assert propose(sequence([1, 2, 3, *[9] * 8_184, 1, 2], []), 1) == (3,)
    assert propose(sequence([1, 2, 3, *[9] * 8_190, 1, 2], []), 1) == ()
