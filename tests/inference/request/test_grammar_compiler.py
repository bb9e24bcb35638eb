from __future__ import annotations

import contextlib
import json
import re
import resource
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingot.artifact import Ingot
from ingot.errors import ResourceError, ServeError, UsageError
from ingot.inference import Engine, EngineConfig, Grammar, SamplingParams
from ingot.inference.executors.torch import TorchExecutor
from ingot.inference.request.grammar_compiler import MAX_GRAMMAR_BYTES, GrammarCompiler
from ingot.model import Tokenizer

SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {"name": {"enum": ["ab", "cd"]}, "size": {"type": "integer"}},
        "required": ["name", "size"],
        "additionalProperties": False,
    }
)


@pytest.fixture(scope="module")
def compiler(tokenizer: Tokenizer) -> Iterator[GrammarCompiler]:
    with contextlib.closing(GrammarCompiler(tokenizer)) as compiler:
        yield compiler


def allowed(mask: np.ndarray, size: int) -> set[int]:
    bits = np.unpackbits(mask.view(np.uint8), bitorder="little")[:size]
    return set(np.flatnonzero(bits).tolist())


def accepts(grammar: Grammar, tokenizer: Tokenizer, text: str) -> bool:
    """Whether the whole of a text follows a grammar, each token allowed by its mask."""
    state = grammar.start()
    for token in tokenizer.encode(text):
        if token not in allowed(state.mask(), tokenizer.vocab_size):
            assert not state.accept(token)
            return False
        assert state.accept(token)
    return tokenizer.eos_id in allowed(state.mask(), tokenizer.vocab_size)


@pytest.mark.parametrize(
    ("kind", "grammar", "good", "bad"),
    [
        ("json_schema", SCHEMA, ['{"name": "ab", "size": 12}', '{"name":"cd","size":-3}'], ["{}"]),
        ("json_object", "", ["{}", '{"a": [1, null, {"b": "é"}]}'], ["[]", "1", '{"a":}']),
        ("regex", "(ab|cd)+[0-9]{2}", ["ab12", "cdab00"], ["ab1", "x", "ab123"]),
        ("grammar", 'start: "a" start "b" | "c"', ["c", "aacbb"], ["ab", "aacb", "b"]),
    ],
)
def test_a_grammar_allows_its_language_and_no_more(
    compiler: GrammarCompiler,
    tokenizer: Tokenizer,
    kind: Any,
    grammar: str,
    good: list[str],
    bad: list[str],
) -> None:
    grammar = compiler.compile(kind, grammar)
    assert [text for text in good if not accepts(grammar, tokenizer, text)] == []
    assert [text for text in bad if accepts(grammar, tokenizer, text)] == []


def test_the_end_is_allowed_only_where_the_grammar_is_satisfied(
    compiler: GrammarCompiler, tokenizer: Tokenizer
) -> None:
    state = compiler.compile("regex", "ab*").start()
    a, b = (tokenizer.encode(text)[0] for text in "ab")
    assert tokenizer.eos_id not in allowed(state.mask(), tokenizer.vocab_size)
    assert state.accept(a)
    assert {tokenizer.eos_id, b} <= allowed(state.mask(), tokenizer.vocab_size)
    assert not state.complete


def test_what_was_taken_back_may_come_otherwise(
    compiler: GrammarCompiler, tokenizer: Tokenizer
) -> None:
    state = compiler.compile("regex", "(ab|cd)").start()
    a, b, c, d = (tokenizer.encode(text)[0] for text in "abcd")
    assert state.accept(a)
    assert not state.accept(d), "a refused token changes nothing"
    assert state.accept(b)
    assert state.complete
    state.rollback(2)
    assert not state.complete
    assert state.accept(c)
    assert state.accept(d)
    assert state.complete


def test_sequences_share_a_grammar_and_not_where_they_are(
    compiler: GrammarCompiler, tokenizer: Tokenizer
) -> None:
    grammar = compiler.compile("regex", "ab")
    one, two = grammar.start(), grammar.start()
    assert one.accept(tokenizer.encode("a")[0])
    assert two.accept(tokenizer.encode("a")[0])
    assert (one.mask() == two.mask()).all()


CHAIN = "\n".join(f"r{n}: r{n + 1} r{n + 1}" for n in range(3000)) + '\nr3000: "a"\nstart: r0'
REFUSED = {
    "not JSON": ("json_schema", "nope"),
    "not a schema": ("json_schema", '{"type": "bogus"}'),
    "a text": ("json_schema", '"x"'),
    "an unknown keyword": ("json_schema", '{"not": {}}'),
    "a file": ("json_schema", '{"$ref": "file:///etc/passwd"}'),
    "an address": ("json_schema", '{"$ref": "http://localhost/x"}'),
    "deep": ("json_schema", '{"items":' * 3000 + "{}" + "}" * 3000),
    "brackets": ("json_schema", "[" * 60_000),
    "wide": (
        "json_schema",
        json.dumps(
            {
                "allOf": [
                    {"anyOf": [{"properties": {f"p{i}{j}": {}}} for j in range(20)]}
                    for i in range(20)
                ]
            }
        ),
    ),
    "no regex": ("regex", "(a"),
    "a regex that matches nothing": ("regex", r"[^\x00-\U0010FFFF]"),
    "no grammar": ("grammar", "garbage ("),
    "nothing": ("grammar", ""),
    "no way out": ("grammar", "start: start"),
    "parentheses": ("grammar", "start: " + "(" * 30_000 + '"a"' + ")" * 30_000),
    "a lone surrogate": ("regex", "\ud800"),
    "too large": ("grammar", 'start: "' + "a" * MAX_GRAMMAR_BYTES + '"'),
}


@pytest.mark.parametrize(("kind", "grammar"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_compiled_is_refused_in_one_line(
    compiler: GrammarCompiler, kind: Any, grammar: str
) -> None:
    with pytest.raises(UsageError) as caught:
        compiler.compile(kind, grammar)
    assert caught.value.where == kind
    assert len(str(caught.value)) < 500
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "grammar"),
    [
        ("grammar", CHAIN),
        ("grammar", 'start: a\na: a a a | a a | "x" | '),
        ("grammar", "start: /" + "a?" * 5000 + "a" * 5000 + "/"),
        ("regex", "(a|b)*a(a|b){300}"),
        ("regex", "((a{1,1000}){1,1000}){1,1000}b?" * 50),
        ("json_schema", '{"type": "string", "pattern": "^(a|b)*a(a|b){20}$"}'),
    ],
)
def test_a_bomb_ends_in_an_error_at_worst(
    compiler: GrammarCompiler, tokenizer: Tokenizer, kind: Any, grammar: str
) -> None:
    rng = np.random.default_rng(0)
    with contextlib.suppress(UsageError, ServeError):
        state = compiler.compile(kind, grammar).start()
        for _ in range(400):
            choices = allowed(state.mask(), tokenizer.vocab_size) - {tokenizer.eos_id}
            if not choices:
                break
            assert state.accept(int(rng.choice(sorted(choices))))


def test_hundreds_of_optional_properties_can_be_followed(
    compiler: GrammarCompiler, tokenizer: Tokenizer
) -> None:
    """FAULTS C5: 75 were the most, and more failed after the answer had begun."""
    names = [f"property_{n}" for n in range(400)]
    schema = {"type": "object", "properties": {name: {"type": "integer"} for name in names}}
    grammar = compiler.compile("json_schema", json.dumps({"type": "array", "items": schema}))
    assert accepts(grammar, tokenizer, '[{"property_7": 1, "property_399": 2}, {}]')
    assert not accepts(grammar, tokenizer, '[{"property_7": "1"}]')


def test_a_grammar_that_crashes_the_library_is_refused_and_the_next_is_not(
    compiler: GrammarCompiler, tokenizer: Tokenizer
) -> None:
    """FAULTS A10: endless recursion, which only reaches the library inside another grammar."""
    for _ in range(3):
        with pytest.raises(UsageError, match="does not compile within 1 s and 96 MiB"):
            compiler.compile("grammar", 'start: %json {"const": -9223372036854775808}')
    assert accepts(compiler.compile("regex", "ab"), tokenizer, "ab")


@pytest.mark.parametrize(
    ("kind", "grammar"),
    [
        ("regex", "(a{20000}){30000}"),
        ("json_schema", '{"type": "string", "pattern": "^(a{20000}){30000}$"}'),
        (
            "grammar",
            "\n".join(
                [*(f"r{n}: r{n + 1} r{n + 1}" for n in range(30)), 'r30: "a"{9}', "start: r0"]
            ),
        ),
        ("json_schema", '{"allOf": [{"multipleOf": 65521}, {"multipleOf": 65519}]}'),
    ],
)
def test_memory_and_time_of_a_grammar_are_limited_and_not_the_servers(
    compiler: GrammarCompiler, kind: Any, grammar: str
) -> None:
    """FAULTS A3: 180 MB and more for a few characters."""
    before = resident_bytes()
    for _ in range(4):
        with pytest.raises(UsageError):
            compiler.compile(kind, grammar)
    assert resident_bytes() - before < 8 << 20


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_a_grammar_that_takes_too_long_is_refused(tokenizer: Tokenizer) -> None:
    with contextlib.closing(GrammarCompiler(tokenizer, seconds=0.01)) as compiler:
        with pytest.raises(UsageError, match=r"regex: does not compile within 0\.01 s"):
            compiler.compile("regex", "[ab]{1,9}" * 6000)
        assert compiler.compile("regex", "a").start().mask().any()


def test_the_process_is_started_again_after_it_has_ended(tokenizer: Tokenizer) -> None:
    with contextlib.closing(GrammarCompiler(tokenizer)) as compiler:
        state = compiler.compile("regex", "ab").start()
        (a,) = tokenizer.encode("a")
        assert state.accept(a)
        finalizer = compiler._process._finalizer
        finalizer()
        assert compiler.compile("regex", "abc").start().mask().any()
        assert not state.accept(a), "what was begun before lives on"


def test_an_answer_outlives_the_child_that_followed_it(tokenizer: Tokenizer) -> None:
    """FAULTS A10: where one answer kills the child, the others are begun again."""
    with contextlib.closing(GrammarCompiler(tokenizer)) as compiler:
        one, two = (compiler.compile("regex", "(ab|cd)+").start() for _ in range(2))
        a, b, c, d = (tokenizer.encode(text)[0] for text in "abcd")
        assert one.accept(a)
        assert two.accept(c)
        killed = compiler._follower
        killed._child._connection.shutdown(socket.SHUT_RDWR)
        with pytest.raises(ServeError, match="grammar: takes too much"):
            one.accept(b)
        assert not two.accept(b)
        assert two.accept(d)
        assert two.accept(a)
        two.rollback(2)
        assert two.accept(d)


def test_answers_that_are_over_are_released(tokenizer: Tokenizer) -> None:
    with contextlib.closing(GrammarCompiler(tokenizer)) as compiler:
        grammar = compiler.compile("regex", "(ab)+")
        for _ in range(50):
            assert grammar.start().mask().any()
        assert len(compiler._follower._left) <= 1


def test_a_closed_compiler_leaves_no_process(tokenizer: Tokenizer) -> None:
    compiler = GrammarCompiler(tokenizer)
    assert compiler.compile("regex", "a").start().mask().any()
    children = Path(f"/proc/self/task/{threading.get_native_id()}/children")
    before = set(children.read_text().split())
    compiler.close()
    assert len(before - set(children.read_text().split())) == 1
    with pytest.raises(ResourceError, match="the model is closed"):
        compiler.compile("regex", "b")


@pytest.mark.parametrize("size", [287, 288, 289])
def test_a_mask_has_a_bit_for_each_token_and_no_word_more(size: int) -> None:
    """The library adds a bit, which was a word too many for vocabularies such as 4096."""
    tokenizer = Tokenizer.train(["abcdefgh " * 9 + "the quick brown fox jumps over a dog"], size)
    assert tokenizer.vocab_size == size
    with contextlib.closing(GrammarCompiler(tokenizer)) as compiler:
        state = compiler.compile("regex", "ab?").start()
        assert state.mask().shape == (-(-size // 32),)
        assert accepts(compiler.compile("regex", "ab?"), tokenizer, "ab")


def answer(
    ingot: Ingot, make_receiver: Any, params: list[SamplingParams], **limits: Any
) -> list[Any]:
    """Run a prompt for each of ``params`` together; return their receivers."""
    blocks = limits.pop("num_blocks", 200)
    executor = TorchExecutor(ingot, num_blocks=blocks, block_size=4)
    engine = Engine(
        executor, ingot.tokenizer, EngineConfig(num_blocks=blocks, block_size=4, **limits)
    )
    receivers = [make_receiver() for _ in params]
    for number, (one, receiver) in enumerate(zip(params, receivers, strict=True)):
        engine.submit([5, 6, number], one, receiver)
    while engine.step():
        engine.check_integrity()
    assert engine.stats().blocks_free == blocks
    return receivers


@settings(max_examples=12, deadline=None)
@given(
    st.lists(st.integers(0, 1 << 60), min_size=1, max_size=4),
    st.sampled_from([0.0, 1.0, 5.0]),
    st.sampled_from([30, 200]),
    st.sampled_from([0, 4]),
)
def test_every_answer_follows_its_grammar(
    ingot: Ingot,
    compiler: GrammarCompiler,
    make_receiver: Any,
    seeds: list[int],
    temperature: float,
    blocks: int,
    speculation: int,
) -> None:
    pattern = r"(ab|cd)(ab|cd)(ab|cd)+[0-9]{2,4}"
    grammar = compiler.compile("regex", pattern)
    params = [
        SamplingParams(max_tokens=40, temperature=temperature, seed=seed, grammar=grammar)
        for seed in seeds
    ]
    receivers = answer(
        ingot,
        make_receiver,
        params,
        num_blocks=blocks,
        max_step_tokens=24,
        max_sequences=4,
        speculation=speculation,
    )
    plain = answer(ingot, make_receiver, params)
    for receiver, other in zip(receivers, plain, strict=True):
        assert receiver.token_ids == other.token_ids
        if receiver.reason == "stop":
            assert re.fullmatch(pattern, receiver.text)
        else:
            assert receiver.reason == "length"
            assert len(receiver.token_ids) == 40


def test_an_answer_ends_where_the_grammar_does(
    ingot: Ingot, compiler: GrammarCompiler, make_receiver: Any
) -> None:
    grammar = compiler.compile("json_schema", SCHEMA)
    params = [
        SamplingParams(max_tokens=120, temperature=0.7, seed=n, grammar=grammar) for n in range(6)
    ]
    ended = [one for one in answer(ingot, make_receiver, params) if one.reason == "stop"]
    assert ended
    for receiver in ended:
        assert json.loads(receiver.text)["name"] in ("ab", "cd")


def test_a_complete_answer_needs_no_step_to_end(
    ingot: Ingot, compiler: GrammarCompiler, make_receiver: Any
) -> None:
    receivers = [make_receiver(), make_receiver()]
    executor = TorchExecutor(ingot, num_blocks=40, block_size=4)
    engine = Engine(executor, ingot.tokenizer, EngineConfig(num_blocks=40, block_size=4))
    for receiver in receivers:
        engine.submit([5], SamplingParams(grammar=compiler.compile("regex", "abba")), receiver)
    while engine.step():
        pass
    assert [receiver.text for receiver in receivers] == ["abba"] * 2
    drawn = sum(len(receiver.token_ids) for receiver in receivers)
    assert engine.stats().generated_tokens == drawn


def test_a_stop_text_goes_before_the_grammar(
    ingot: Ingot, compiler: GrammarCompiler, make_receiver: Any
) -> None:
    grammar = compiler.compile("regex", "abcdef")
    params = SamplingParams(grammar=grammar, stop=("de",))
    (receiver,) = answer(ingot, make_receiver, [params])
    assert (receiver.text, receiver.reason) == ("abc", "stop")


def test_a_grammar_too_costly_to_follow_ends_its_sequence_alone(
    ingot: Ingot, compiler: GrammarCompiler, make_receiver: Any
) -> None:
    grammar = compiler.compile("grammar", 'start: a\na: a a a | a a | "x" | ')
    bomb = SamplingParams(max_tokens=120, grammar=grammar, logit_bias=((0, -100.0),))
    plain = SamplingParams(max_tokens=40, seed=1, ignore_eos=True)
    first, second = answer(ingot, make_receiver, [bomb, plain])
    assert first.reason == "error"
    assert first.deltas[-1].error.startswith("grammar: ")
    assert (second.reason, len(second.token_ids)) == ("length", 40)
