from __future__ import annotations

import datetime

import pytest

from ingot.model.template_worker import TooLongError, environment, render


def rendered(source: str, **variables: object) -> str:
    return render(environment().from_string(source), variables, 1000)


def test_blocks_leave_no_blank_lines() -> None:
    assert rendered("{% if true %}\n    {% set x = 1 %}\n{{ x }}\n{% endif %}\n") == "1\n"


def test_loops_may_be_left() -> None:
    assert (
        rendered("{% for n in range(9) %}{% if n > 2 %}{% break %}{% endif %}{{ n }}{% endfor %}")
        == "012"
    )


def test_json_is_not_escaped_for_web_pages() -> None:
    assert rendered("{{ x | tojson }}", x={"a": "<é & 'b'>"}) == '{"a": "<é & \'b\'>"}'
    assert rendered("{{ x | tojson(indent=1) }}", x=[1]) == "[\n 1\n]"


def test_training_frameworks_marks_are_passed_over() -> None:
    assert rendered("a{% generation %}b{{ x }}{% endgeneration %}c", x=1) == "ab1c"


def test_the_date_is_known() -> None:
    assert rendered("{{ strftime_now('%Y') }}") == str(datetime.datetime.now().year)


def test_the_longest_text_just_fits() -> None:
    template = environment().from_string("{% for n in range(10) %}{{ n }}{% endfor %}")
    assert render(template, {}, 10) == "0123456789"
    with pytest.raises(TooLongError):
        render(template, {}, 9)
