"""Worker that compiles and follows grammars; run as a script by ``grammar_process``.

A grammar comes from a stranger, and the library that compiles it is native code: it has
recursed until its stack overflowed, and taken gigabytes for 30 characters. So none of it runs
in the server.

The script loads the tokenizer once and then only forks. Each child has one end of a socket, a
limit of memory and a limit of processor time for each operation, and is killed where it
exceeds one; a fork takes about a millisecond, and the tokenizer's memory is shared. A child
serves until its socket is closed.

Messages begin with their length (4 bytes, little end first). The first to the script is its
setup in JSON; each further one holds a child's limits in JSON and comes with the child's socket.
A child takes ``_HEAD`` and the operation's bytes, and answers with a byte (``REFUSED``, or
``FOLLOWS`` plus ``ACCEPTED`` and ``STOPPED``) and bytes: the reason, or the mask of the next
token.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import random
import resource
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:  # the server imports this module for its protocol, and never the library
    from llguidance import LLMatcher, LLTokenizer

TRY, START, ACCEPT, ROLLBACK, FORGET = range(5)
"""Operations: compile and walk; begin a sequence; advance; undo; drop sequences."""
REFUSED, FOLLOWS, ACCEPTED, STOPPED = 0, 1, 2, 4
REGEX, GRAMMAR = b"r", b"g"
"""First byte of a grammar: a regular expression, or Lark or the library's JSON."""
HEAD = struct.Struct("<BII")
"""Operation, sequence, and a token or a count."""
TRIED = struct.Struct("<Qdd")
"""Answer to ``TRY``: the bytes that a grammar takes, and the processor time to compile it alone
and in all."""
LENGTH = struct.Struct("<I")

# The library recurses along chains of rules: 3,000 of them, in 50 kB of text, overran 8 MB.
_STACK_BYTES = 256 << 20
_WALKS, _WALK_STEPS = 4, 48
_WALKS_S = 0.05
_BURST_S, _STEP_S, _STEP_S_PER_TOKEN = 0.025, 2e-4, 5e-9
"""Processor time that an answer may take: at once, for each step, and for the vocabulary's size.

An ordinary schema takes 10 to 50 µs a step. The engine waits for the slowest.
"""
_KEPT_BYTES = 64 << 20
_WORD_BITS = 32  # tokens in a word of a mask
_MESSAGE_CHARACTERS = 300


class _Memory(ctypes.Structure):
    """glibc's ``struct mallinfo2``."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


def _allocated() -> int:
    """Return the bytes that are allocated; resident memory where the C library cannot say."""
    try:
        mallinfo2 = ctypes.CDLL(None).mallinfo2
    except (AttributeError, OSError):
        return int(_statistics()[1]) * resource.getpagesize()
    mallinfo2.restype = _Memory
    memory = mallinfo2()
    return int(memory.uordblks) + int(memory.hblkhd)


def _statistics() -> list[str]:
    with open("/proc/self/statm") as file:  # noqa: PTH123  pathlib would only take time here
        return file.read().split()


def receive(connection: socket.socket) -> bytes | None:
    """Return the next message; None at the end.

    Both sides wait for each other's messages, so that what arrives is never more than one.
    """
    received = connection.recv(1 << 16)
    if not received:
        return None
    parts = bytearray(received)
    while len(parts) < LENGTH.size or len(parts) < LENGTH.size + LENGTH.unpack_from(parts)[0]:
        received = connection.recv(1 << 20)
        if not received:
            return None
        parts += received
    return bytes(memoryview(parts)[LENGTH.size :])


class Sequence:
    """One answer's matcher, and the processor time that it takes.

    Args:
        matcher: The answer's own.
        step_s: Seconds that a step may take in the mean.
        mask_bytes: Bytes of a mask of the vocabulary, in whole words of 32 tokens.
    """

    def __init__(self, matcher: LLMatcher, step_s: float, mask_bytes: int) -> None:
        self._matcher = matcher
        self._mask_bytes = mask_bytes
        self._step_s = step_s
        self._left_s = _BURST_S

    def state(self, flags: int = FOLLOWS) -> tuple[int, bytes]:
        """Return the flags and the mask of the next token, or why the answer has failed."""
        matcher = self._matcher
        mask = b"" if matcher.is_error() else matcher.compute_bitmask()
        if matcher.is_error():
            return REFUSED, _short(matcher.get_error())
        # The library adds a bit, which is a whole word where the vocabulary fills its last one.
        return flags | STOPPED * matcher.is_stopped(), mask[: self._mask_bytes]

    def step(self, operation: int, value: int) -> tuple[int, bytes]:
        """Carry out an operation; return as ``state`` does."""
        begun = time.process_time()
        flags = FOLLOWS
        if operation == ROLLBACK:
            self._matcher.rollback(value)
        elif self._matcher.try_consume_tokens([value]) == 1:
            flags |= ACCEPTED
        state = self.state(flags)
        self._left_s += self._step_s - (time.process_time() - begun)
        if self._left_s < 0:
            return REFUSED, b"takes too much time to follow"
        return state


class Follower:
    """The sequences of one child.

    Args:
        tokenizer: The library's tokenizer.
        limits: Its limits of work, by name.
    """

    def __init__(self, tokenizer: LLTokenizer, limits: dict[str, Any]) -> None:
        self._tokenizer = tokenizer
        self._limits = limits
        self._step_s = _STEP_S + _STEP_S_PER_TOKEN * tokenizer.vocab_size
        self._mask_bytes = -(-tokenizer.vocab_size // _WORD_BITS) * _WORD_BITS // 8
        self._compiled: dict[bytes, tuple[LLMatcher, int]] = {}
        """Grammars used last, and the bytes that each takes; the oldest first."""
        self._sequences: dict[int, Sequence] = {}

    def answer(self, message: bytes) -> tuple[int, bytes]:
        """Carry out one operation."""
        operation, number, value = HEAD.unpack_from(message)
        rest = message[HEAD.size :]
        if operation == TRY:
            return self._try(rest)
        if operation == START:
            return self._start(number, rest[:value], _ids(rest[value:]))
        if operation == FORGET:
            for sequence in _ids(rest):
                self._sequences.pop(sequence, None)
            return FOLLOWS, b""
        return self._sequences[number].step(operation, value)

    def _try(self, source: bytes) -> tuple[int, bytes]:
        """Compile a grammar and follow it at random; report its bytes and its seconds."""
        before, begun = _allocated(), time.process_time()
        matcher = self._compile(source)
        if matcher.is_error():
            return REFUSED, _short(self._reason(matcher, source))
        rng, compiled = random.Random(0), time.process_time()
        for _ in range(_WALKS):
            sequence = Sequence(matcher.deep_copy(), self._step_s, self._mask_bytes)
            state = sequence.state()
            for _ in range(_WALK_STEPS):
                if state[0] == REFUSED:
                    return state
                if state[0] & STOPPED or time.process_time() > compiled + _WALKS_S:
                    break
                state = sequence.step(ACCEPT, _chosen(state[1], rng))
        spent = time.process_time() - begun
        size = max(_allocated() - before, 0)
        return FOLLOWS, TRIED.pack(size, compiled - begun, spent)

    def _start(self, number: int, source: bytes, tokens: list[int]) -> tuple[int, bytes]:
        """Begin a sequence of which some tokens may be known."""
        before = _allocated()
        known = self._compiled.pop(source, None)
        if known is None:
            matcher = self._compile(source)
            if matcher.is_error():
                return REFUSED, _short(matcher.get_error())
            known = matcher, max(_allocated() - before, len(source))
        self._compiled[source] = known
        while sum(size for _, size in self._compiled.values()) > _KEPT_BYTES:
            del self._compiled[next(iter(self._compiled))]
        matcher = known[0].deep_copy()
        matcher.try_consume_tokens(tokens)
        self._sequences[number] = Sequence(matcher, self._step_s, self._mask_bytes)
        return self._sequences[number].state()

    def _compile(self, source: bytes) -> LLMatcher:
        from llguidance import LLMatcher, LLParserLimits  # noqa: PLC0415 (as above)

        text = source[1:].decode()
        if source.startswith(REGEX):
            text = LLMatcher.grammar_from_regex(text)
        limits = LLParserLimits(**self._limits)
        return LLMatcher(self._tokenizer, text, log_level=0, limits=limits)

    def _reason(self, matcher: LLMatcher, source: bytes) -> str:
        """Return why a grammar was refused, with the ``pattern`` to blame if there is one."""
        for pattern in sorted(set(_patterns(source))):
            alone = {"grammars": [{"json_schema": {"type": "string", "pattern": pattern}}]}
            tried = self._compile(GRAMMAR + json.dumps(alone).encode())
            if tried.is_error():
                return f'"pattern" {pattern[:80]!r}: {tried.get_error()}'
        return str(matcher.get_error())


def _patterns(source: bytes) -> Iterator[str]:
    """Yield the patterns of a grammar's JSON schema."""
    unread: list[Any] = []
    with contextlib.suppress(ValueError):
        unread.append(json.loads(source[1:]))
    while unread:
        value = unread.pop()
        if isinstance(value, dict):
            if isinstance(value.get("pattern"), str):
                yield value["pattern"]
            unread.extend(value.values())
        elif isinstance(value, list):
            unread.extend(value)


def _ids(packed: bytes) -> list[int]:
    return list(struct.unpack(f"<{len(packed) // 4}I", packed))


def _chosen(mask: bytes, rng: random.Random) -> int:
    """Return one of the tokens of a mask."""
    bits = int.from_bytes(mask, "little")
    position = rng.randrange(max(bits.bit_length(), 1))
    above = bits >> position
    return position + (above & -above).bit_length() - 1 if above else bits.bit_length() - 1


def _short(message: str) -> bytes:
    """Keep a message of the library to one line that can be printed."""
    line = " ".join(message.replace("<non-verbose/>", "").split())
    line = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in line)
    shown = line if len(line) <= _MESSAGE_CHARACTERS else line[:_MESSAGE_CHARACTERS] + "…"
    return shown.encode(errors="replace")


def _serve(connection: socket.socket, follower: Follower, limits: dict[str, Any]) -> None:
    """Answer until the socket is closed; the system kills where a limit is exceeded."""
    memory = int(_statistics()[0]) * resource.getpagesize() + limits["memory"]
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    while (message := receive(connection)) is not None:
        # Time on a processor, so that a busy machine does not count; SIGPROF kills by default.
        signal.setitimer(signal.ITIMER_PROF, limits["seconds"])
        flags, data = follower.answer(message)
        signal.setitimer(signal.ITIMER_PROF, 0)
        connection.sendall(LENGTH.pack(len(data) + 1) + bytes([flags]) + data)


def _on_deep_stack(work: Callable[[], None]) -> None:
    threading.stack_size(_STACK_BYTES)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def _child(connection: socket.socket, follower: Follower, limits: dict[str, Any]) -> NoReturn:
    code = 1
    with contextlib.suppress(BaseException):
        _on_deep_stack(lambda: _serve(connection, follower, limits))
        code = 0
    os._exit(code)


def main() -> None:
    """Fork a child for each request on standard input, which is a socket, until it ends."""
    from llguidance import LLTokenizer  # noqa: PLC0415 (as above)

    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system buries the children
    requests = socket.socket(fileno=os.dup(0))
    setup = json.loads(receive(requests) or b"{}")
    tokenizer = LLTokenizer(
        setup["tokenizer"], n_vocab=setup["vocab_size"], eos_token=setup["end_ids"]
    )
    follower = Follower(tokenizer, setup["limits"])
    setup.clear()
    gc.collect()
    gc.freeze()  # a collection in a child would copy the pages that it shares
    requests.sendall(b"r")
    while True:
        data, descriptors, _, _ = socket.recv_fds(requests, 1 << 12, 1)
        if not data:
            return
        with socket.socket(fileno=descriptors[0]) as connection:
            if os.fork() == 0:
                requests.close()
                _child(connection, follower, json.loads(data))
        requests.sendall(b"f")


if __name__ == "__main__":
    main()
