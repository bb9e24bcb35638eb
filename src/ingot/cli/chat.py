"""The verb ``chat``: a conversation with an ingot in the terminal."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ingot.cli.inference import Executor, Seed, Temperature, Threads, TopP, Weights, with_defaults
from ingot.cli.options import Model, note

if TYPE_CHECKING:
    from ingot.api import inference

app = typer.Typer()

_LEAST_ANSWER = 16  # tokens that must fit after the prompt
_HELP = "/new begins another conversation, /exit or Ctrl-D ends; Ctrl-C stops an answer"


class Conversation:
    """The turns of a conversation that the model is shown.

    Args:
        model: Who answers.
        system: Instructions that stay in front of all turns; empty for none.
        sampling: Fields of ``SamplingParams``.
    """

    def __init__(self, model: inference.Model, system: str, sampling: dict[str, Any]) -> None:
        self._model, self._sampling = model, sampling
        self._first = [{"role": "system", "content": system}] if system else []
        self._turns: list[dict[str, str]] = []

    def ask(self, text: str, notify: Callable[[str], None]) -> Iterator[str]:
        """Yield the answer to a message as it is generated; what was said is kept.

        Args:
            text: The message.
            notify: Called with a line when old turns are left out.

        Raises:
            UsageError: the message alone does not fit in the context; it is not kept.
        """
        kept = [*self._turns, {"role": "user", "content": text}]
        most = self._model.ingot.config.max_position_embeddings - _LEAST_ANSWER
        left_out = 0
        while len(self._model.encode_chat([*self._first, *kept])) > most and len(kept) > 1:
            del kept[:2]  # a question and its answer
            left_out += 1
        if left_out:
            turns = "turn was" if left_out == 1 else f"{left_out} turns were"
            notify(f"the context is full: the oldest {turns} left out")
        said: list[str] = []
        try:
            for piece in self._model.stream_chat([*self._first, *kept], **self._sampling):
                said.append(piece)
                yield piece
        finally:
            if said:  # also of an answer that was stopped
                self._turns = [*kept, {"role": "assistant", "content": "".join(said)}]

    def clear(self) -> None:
        """Forget all turns but the instructions."""
        self._turns = []


@app.command(epilog='Example: **ingot chat talker.ingot --system "Answer briefly."**')
def chat(
    ingot: Model,
    system: Annotated[str, typer.Option(help="Instructions, before all messages.")] = "",
    max_tokens: Annotated[int, typer.Option(help="Most tokens of an answer.")] = 512,
    temperature: Temperature = None,
    top_p: TopP = None,
    seed: Seed = None,
    executor: Executor = "auto",
    weights: Weights = "stored",
    threads: Threads = None,
) -> None:
    """Converse with an ingot through its chat template; each line of stdin is a message."""
    from ingot.api.inference import load
    from ingot.api.sources import as_ingot
    from ingot.inference import EngineConfig

    sampling: dict[str, Any] = {
        "max_tokens": max_tokens,
        "temperature": temperature,
        "top_p": top_p,
        "seed": seed,
    }
    with load(  # it checks executor and weights
        as_ingot(ingot, note),
        executor=executor,  # type: ignore[arg-type]
        weights=weights,  # type: ignore[arg-type]
        engine=EngineConfig(threads=threads),
    ) as model:
        if not model.knows_conversations:
            note(
                "this model was trained on plain text, not on conversations: expect it to continue "
                "text rather than to answer; fine-tune it with: "
                f"ingot train talks.jsonl --from {ingot} --task chat"
            )
        _converse(Conversation(model, system, with_defaults(model, sampling)))


def _converse(conversation: Conversation) -> None:
    """Answer each line of stdin until its end."""
    if sys.stdin.isatty():
        note(_HELP)
        # Ctrl-C stops an answer here, and not the process.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    while (text := _next_message()) is not None:
        if text == "/exit":
            return
        if text == "/new":
            conversation.clear()
        elif text.startswith("/") and sys.stdin.isatty():
            note(_HELP)
        elif text:
            _answer(conversation, text)


def _answer(conversation: Conversation, text: str) -> None:
    """Print an answer as it is generated; Ctrl-C stops it, or ends a chat that is not typed."""
    pieces = conversation.ask(text, note)
    try:
        for piece in pieces:
            sys.stdout.write(piece)
            sys.stdout.flush()
    except KeyboardInterrupt:
        if not sys.stdin.isatty():
            raise
    finally:
        pieces.close()  # type: ignore[attr-defined]  # a generator; it cancels the rest
    sys.stdout.write("\n")
    sys.stdout.flush()


def _next_message() -> str | None:
    """Return the next line of stdin without its blanks; None at its end."""
    if sys.stdin.isatty():
        try:
            return input("> ").strip()  # with line editing
        except EOFError:
            sys.stdout.write("\n")
            return None
        except KeyboardInterrupt:  # perhaps meant for an answer that has just ended
            sys.stdout.write("\n")
            return "/help"
    line = sys.stdin.readline()
    return line.strip() if line else None
