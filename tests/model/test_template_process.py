from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from ingot.errors import ArtifactError, UsageError
from ingot.model import template_process
from ingot.model.template_process import TemplateProcess


@contextmanager
def template(
    source: str, *, seconds: float = 5.0, characters: int = 1 << 20
) -> Iterator[TemplateProcess]:
    process = TemplateProcess(source, where="evil.jinja", seconds=seconds, characters=characters)
    try:
        yield process
    finally:
        process.close()


def test_it_renders_once_for_each_mapping() -> None:
    with template("{{ greeting }}, {{ who }}!") as process:
        texts = process.render([{"greeting": "Hé", "who": "you"}, {"greeting": "Bye", "who": 7}])
    assert texts == ["Hé, you!", "Bye, 7!"]


def test_a_text_longer_than_any_pipe_passes_both_ways() -> None:
    with template("{{ text }}") as process:
        assert process.render([{"text": "x" * 900_000}]) == ["x" * 900_000]


def test_threads_get_their_own_texts() -> None:
    source = "{% for _ in range(50) %}{{ number }} {% endfor %}"
    with template(source) as process, ThreadPoolExecutor(4) as pool:
        texts = list(pool.map(lambda n: process.render([{"number": n}])[0], range(40)))
    assert texts == [f"{number} " * 50 for number in range(40)]


def test_a_long_conversation_gives_way_and_the_next_does_not() -> None:
    """FAULTS A6: beside a stream it may take a tenth of a CPU, not all of it."""
    source = "{% for _ in range(count) %}{% for _ in range(1000) %}{% endfor %}{% endfor %}done"
    with template(source, seconds=60.0) as process, ThreadPoolExecutor(1) as pool:
        first = _niceness(process)
        rendered = pool.submit(process.render, [{"count": 20_000}])
        deadline = time.monotonic() + 60
        while _niceness(process) == first:
            assert time.monotonic() < deadline
            assert not rendered.done()
        assert _niceness(process) == min(first + 10, 19)
        assert rendered.result(timeout=60) == ["done"]
        assert process.render([{"count": 1}]) == ["done"]
        assert _niceness(process) == first


def _niceness(process: TemplateProcess) -> int:
    assert process._process is not None
    return os.getpriority(os.PRIO_PROCESS, process._process.pid)


@pytest.mark.parametrize(
    "source",
    [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}"
        "{{ f(60) }}",
        "{{ 9 ** (9 ** (n + 8)) }}",
        "{{ 9 ** (9 ** 9) }}",  # folded while the template is compiled
        "{{ messages * 4000000000 }}",
        "{% set s = namespace(t='ab') %}"
        "{% for _ in range(99) %}{% set s.t = s.t ~ s.t %}{% endfor %}{{ s.t }}",
        "{{ '%09999999999d' % n }}",
        "{{ 'a'.ljust(9999999999) }}",
    ],
)
def test_what_never_ends_or_fills_the_memory_is_stopped(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(template_process, "_PATIENCE", 600)  # the worker must stop itself
    stopped = r"evil\.jinja: .*(takes more|memory|OverflowError)"
    with (
        pytest.raises((ArtifactError, UsageError), match=stopped),
        template(source, seconds=0.3) as process,
    ):
        process.render([{"messages": [1], "n": 1}])


def test_memory_is_bounded() -> None:
    with template("{{ ('a' * n) | length }}") as process:
        assert process.render([{"n": 1_000_000}]) == ["1000000"]
        with pytest.raises(ArtifactError, match="needs more than 512 MiB of memory to render"):
            process.render([{"n": 700_000_000}])


def test_too_long_a_text_is_refused() -> None:
    source, message = "{% for _ in range(99999) %}{{ text }}{% endfor %}", "makes too long a text"
    with (
        template(source, characters=5000) as process,
        pytest.raises(ArtifactError, match=rf"evil\.jinja: {message} to render"),
    ):
        process.render([{"text": "abc"}])


def test_it_serves_on_after_a_text_had_to_be_stopped() -> None:
    source = "{% for _ in range(n) %}{% for _ in range(n) %}{% endfor %}{% endfor %}done {{ n }}"
    with template(source, seconds=0.3) as process:
        with pytest.raises(ArtifactError, match=r"takes more than 0\.3 s"):
            process.render([{"n": 99_999}])
        assert process.render([{"n": 3}]) == ["done 3"]


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ messages.append(1) }}",
        "{{ self._TemplateReference__context.cycler.__init__.__globals__ }}",
    ],
)
def test_python_is_out_of_reach(source: str) -> None:
    with template(source) as process, pytest.raises(UsageError, match="SecurityError"):
        process.render([{"messages": [1]}])


@pytest.mark.parametrize("source", ["{% include '/etc/passwd' %}", "{% import 'os' as os %}"])
def test_no_file_can_be_read(source: str) -> None:
    with template(source) as process, pytest.raises(UsageError, match="cannot render"):
        process.render([{}])


def test_what_is_no_jinja_is_refused_with_its_line() -> None:
    with pytest.raises(ArtifactError, match=r"^evil\.jinja: is not valid Jinja \(line 2: .*\)$"):
        TemplateProcess("fine\n{% for %}", where="evil.jinja", seconds=5, characters=100)


def test_a_refusal_of_the_templates_own_is_passed_on() -> None:
    with template("{{ raise_exception('Roles must alternate') }}") as process:
        with pytest.raises(UsageError, match="refuses the conversation: Roles must alternate"):
            process.render([{}])
        with pytest.raises(UsageError, match="Roles must alternate"):  # and it lives on
            process.render([{}])


def test_a_killed_process_is_replaced() -> None:
    with template("{{ n }}") as process:
        assert process._process is not None
        os.kill(process._process.pid, 9)
        with pytest.raises(ArtifactError, match="dies"):
            process.render([{"n": 1}])
        assert process.render([{"n": 1}]) == ["1"]


def test_nothing_is_left_running() -> None:
    process = TemplateProcess("x", where="t", seconds=5, characters=100)
    child = process._process
    assert child is not None
    assert child.poll() is None
    del process
    gc.collect()
    assert child.poll() is not None


def test_closed_is_closed() -> None:
    process = TemplateProcess("x", where="t", seconds=5, characters=100)
    process.close()
    process.close()
    with pytest.raises(UsageError, match="is closed"):
        process.render([{}])
