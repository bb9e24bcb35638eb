from __future__ import annotations

import itertools
import json
import statistics
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingot.errors import IngotError, UsageError
from ingot.inference.capacity.mix import read_mix
from ingot.inference.capacity.traffic import read_traffic


def logged(second: float, seconds: float, prompt: int, answer: int, **more: Any) -> dict[str, Any]:
    """One line of our log, for a request that ended at this second of a minute."""
    moment = f"2026-11-29T12:00:{second:06.3f}Z"
    fields = {"prompt_tokens": prompt, "completion_tokens": answer, "seconds": seconds}
    return {"time": moment, "message": "request", "status": 200} | fields | more


def write(path: Path, lines: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_a_log_gives_arrivals_lengths_and_what_is_no_request_is_left_out(tmp_path: Path) -> None:
    lines = [
        {"message": "model m sleeps", "time": "2026-11-29T12:00:00.000Z"},
        logged(12.5, 2.5, 30, 7, key="bob"),
        logged(11.0, 2.0, 20, 5),
        logged(13.0, 0.1, 20, 5) | {"completion_tokens": 0},
    ]
    traffic = read_traffic(write(tmp_path / "log", lines))
    assert [request.at_s for request in traffic.requests] == pytest.approx([0.0, 1.0])
    assert [request.prompt for request in traffic.requests] == [20, 30]
    assert [request.tenant for request in traffic.requests] == ["", "bob"]
    assert (traffic.answer_tokens, traffic.skipped) == (12, 2)
    assert traffic.rate == pytest.approx(1.0)


def test_what_the_log_says_was_cached_is_a_shared_prefix(tmp_path: Path) -> None:
    lines = [
        logged(10, 1, 40, 5),
        logged(11, 1, 40, 5, cached_tokens=32),
        logged(12, 1, 40, 5),
        logged(13, 1, 20, 5, session="a"),
        logged(14, 1, 60, 5, session="a", cached_tokens=16),
        logged(15, 1, 40, 5, cached_tokens=32, key="bob"),
    ]
    first, second, third, turn, later, other = (
        request.token_ids for request in read_traffic(write(tmp_path / "log", lines)).requests
    )
    assert first[:32] == second[:32]
    assert first[32:] != second[32:]
    assert not set(first) & set(third)
    assert later[:20] == turn
    assert first[:32] != other[:32]  # another key's


def test_the_result_of_vllm_bench_serve(tmp_path: Path) -> None:
    result = {
        "date": "20261129",
        "input_lens": [128, 0, 64],
        "output_lens": [16, 0, 8],
        "start_times": [103.5, 103.7, 101.0],
        "ttfts": [0.1, 0.0, 0.2],
    }
    path = tmp_path / "result.json"
    for text in (json.dumps(result), json.dumps(result, indent=2)):
        path.write_text(text)
        traffic = read_traffic(path)
        assert [(one.at_s, one.prompt, one.answer) for one in traffic.requests] == [
            (0.0, 64, 8),
            (2.5, 128, 16),
        ]


def test_a_mooncake_trace_shares_the_blocks_of_equal_hashes(tmp_path: Path) -> None:
    lines = [
        {"timestamp": 0, "input_length": 1100, "output_length": 3, "hash_ids": [1, 2, 3]},
        {"timestamp": 1500, "input_length": 1030, "output_length": 9, "hash_ids": [1, 2, 4]},
    ]
    one, two = read_traffic(write(tmp_path / "trace", lines)).requests
    assert (one.at_s, two.at_s) == (0.0, 1.5)
    assert (len(one.token_ids), len(two.token_ids)) == (1100, 1030)
    assert one.token_ids[:1024] == two.token_ids[:1024]
    assert one.token_ids[1024:1030] != two.token_ids[1024:]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no request that generated"),
        ("[]\n", "no request that generated"),
        ('{"input_lens": [1], "output_lens": [1]}', "start_times"),
        ('{"input_lens": [1.5], "output_lens": [1], "start_times": [0]}', "not a count"),
        ('{"input_length": 3, "output_length": 1}\n', "timestamp"),
        ('{"timestamp": 0, "input_length": 3, "output_length": 1, "hash_ids": [1, 2]}', "hash_ids"),
        ('{"message": "request", "prompt_tokens": 3, "completion_tokens": 1}', "its time"),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "file"
    path.write_text(text)
    with pytest.raises(UsageError, match=said):
        read_traffic(path)


@given(
    st.binary(max_size=200) | st.text(max_size=100).map(lambda text: f'{{"{text}": 1}}'.encode())
)
def test_no_file_is_a_fault(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(data)
    with pytest.raises(IngotError):
        read_traffic(path)


def test_a_mix_is_as_described_and_the_same_each_time() -> None:
    text = "prompt=100..200 answer=8 rate=50 seconds=100 shared=64"
    traffic = read_mix(text)
    assert traffic == read_mix(text)
    assert traffic.rate == pytest.approx(50, rel=0.1)
    prompts = [request.prompt for request in traffic.requests]
    assert (min(prompts), max(prompts)) == (100, 200)
    assert {request.answer for request in traffic.requests} == {8}
    assert len({request.token_ids[:64] for request in traffic.requests}) == 1
    assert len({request.token_ids[64:] for request in traffic.requests}) == len(prompts)


def test_less_burstiness_is_burstier() -> None:
    def variation(shape: str) -> float:
        requests = read_mix(f"prompt=1 answer=1 rate=50 seconds=60 burstiness={shape}").requests
        times = [request.at_s for request in requests]
        gaps = [later - sooner for sooner, later in itertools.pairwise(times)]
        return statistics.stdev(gaps) / statistics.mean(gaps)

    assert variation("0.3") > 1.4 > variation("1") > 0.7 > variation("10")


@pytest.mark.parametrize(
    "text",
    [
        *("", "prompt=1 answer=1", "prompt=1 answer=1 rate=0", "prompt=5..1 answer=1 rate=1"),
        *(
            "prompt=1 answer=0 rate=1",
            "prompt=1 answer=1 rate=1 rate=2",
            "prompt=1 answer=1 rate=nan",
        ),
        *("prompt=x answer=1 rate=1", "prompt=1 answer=1 rate=1 hue=2"),
        "prompt=1 answer=1 rate=100000 seconds=86400",
    ],
)
def test_a_mix_that_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--mix"):
        read_mix(text)
