"""Worker that renders one chat template; run as a script by ``template_process``.

A template may come with a model from anywhere. Jinja's sandbox keeps it from
reaching Python; it does not keep it from looping, or from making a text that
fills the memory. So this process has little memory, cannot write files, and
is killed by its own timer.

A conversation that takes long gives way to the engine, with which it shares the CPUs: the process
lowers its priority, which it cannot raise again, and ends after its answer.

Both directions carry one JSON value a line: first ``{template, seconds, characters}``,
then lists of variables, one mapping for each text to render.
"""

from __future__ import annotations

import datetime
import json
import os
import resource
import signal
import sys
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

_MEMORY = 512 << 20
_SHORT_S = 0.02  # of processor time; an ordinary conversation takes a tenth
# A tenth of the share of the engine's threads, as the process that encodes long texts has.
_NICENESS = 10


class RefusedError(Exception):
    """Error that the template itself raises for a conversation that it cannot render."""


class TooLongError(Exception):
    """Error for a rendered text that exceeds the limit."""


class GenerationTag(Extension):
    """``{% generation %}`` marks answers for training frameworks; here it only holds text."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """Return what stands between the tags."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def environment() -> ImmutableSandboxedEnvironment:
    """Return Jinja set up as transformers sets it up for chat templates."""
    made = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, GenerationTag]
    )
    made.filters["tojson"] = _to_json
    made.globals |= {"raise_exception": _refuse, "strftime_now": _now}
    return made


def render(template: jinja2.Template, variables: dict[str, Any], characters: int) -> str:
    """Render one text of at most ``characters`` characters."""
    parts, length = [], 0
    for part in template.generate(variables):
        length += len(part)
        if length > characters:
            raise TooLongError
        parts.append(part)
    return "".join(parts)


def main() -> None:
    """Answer requests from standard input on standard output until the input ends."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    setup = json.loads(sys.stdin.buffer.readline())
    slow = False

    def give_way(*_: object) -> None:
        nonlocal slow
        slow = True
        os.nice(_NICENESS)

    signal.signal(signal.SIGVTALRM, give_way)

    def answer(work: Any) -> None:
        # Time on a processor, so that a busy machine does not count; SIGPROF kills by default.
        signal.setitimer(signal.ITIMER_PROF, setup["seconds"])
        reply = _outcome(work)
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        if slow:
            reply["slow"] = True
        sys.stdout.buffer.write(json.dumps(reply).encode() + b"\n")
        sys.stdout.buffer.flush()

    template = None

    def compile_template() -> list[str]:
        nonlocal template
        template = environment().from_string(setup["template"])
        return []

    answer(compile_template)
    if template is None:
        return
    for line in sys.stdin.buffer:
        signal.setitimer(signal.ITIMER_VIRTUAL, _SHORT_S)
        asked = json.loads(line)
        answer(lambda asked=asked: [render(template, each, setup["characters"]) for each in asked])
        if slow:
            return


def _outcome(work: Any) -> dict[str, Any]:
    """Return ``{texts}``, or ``{KIND: message}`` if the work failed."""
    try:
        return {"texts": work()}
    except RefusedError as error:
        return {"refused": str(error)[:500]}
    except TooLongError:
        return {"limit": "makes too long a text"}
    except MemoryError:
        return {"limit": f"needs more than {_MEMORY >> 20} MiB of memory"}
    except RecursionError:
        return {"limit": "nests too deeply"}
    except jinja2.TemplateSyntaxError as error:
        return {"syntax": f"line {error.lineno}: {error.message}"[:500]}
    except Exception as error:  # a template may fail in any way Python code may
        return {"failed": f"{type(error).__name__}: {error}"[:500]}


def _refuse(message: str) -> NoReturn:
    raise RefusedError(message)


def _now(form: str) -> str:
    return datetime.datetime.now().strftime(form)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Write JSON as it is; Jinja's own filter escapes it for web pages."""
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


if __name__ == "__main__":
    main()
