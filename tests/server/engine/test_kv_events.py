"""Events of the prefix cache, read by a subscriber with vLLM's own types."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec
import pytest
import zmq

from ingot.artifact import Ingot, open_ingot
from ingot.errors import ServeError, UsageError
from ingot.inference import Engine, EngineConfig, EngineLoop
from ingot.inference.config import Weights
from ingot.inference.executors.torch import TorchExecutor
from ingot.server import KvEventsConfig, Server, ServerConfig
from ingot.server.access.api_keys import make_key

PROMPTS = [[(50 * turn + index) % 256 for index in range(120)] for turn in range(3)]
"""Of token ids, seven blocks each; the small cache holds twenty."""
LOCAL = {"endpoint": "tcp://127.0.0.1:*", "replay_endpoint": "tcp://127.0.0.1:*"}
WAIT_MS = 30_000


class BlockStored(msgspec.Struct, tag=True, forbid_unknown_fields=True):
    block_hashes: list[int]
    parent_block_hash: int | None
    token_ids: list[int]
    block_size: int
    lora_id: int | None
    medium: str | None
    lora_name: str | None
    extra_keys: list[list[str] | None] | None = None


class BlockRemoved(msgspec.Struct, tag=True, forbid_unknown_fields=True):
    block_hashes: list[int]
    medium: str | None


class AllBlocksCleared(msgspec.Struct, tag=True, forbid_unknown_fields=True):
    pass


class Batch(msgspec.Struct, array_like=True):
    ts: float
    events: list[BlockStored | BlockRemoved | AllBlocksCleared]
    data_parallel_rank: int | None = None


DECODE = msgspec.msgpack.Decoder(Batch).decode


class Subscriber:
    """A router's side: what is published from now on, and what was before."""

    def __init__(self, server: Server, model: str = "tiny") -> None:
        self.publisher = server.kv_events.publishers[model]
        self._context = zmq.Context()
        self.socket = self._context.socket(zmq.SUB)
        self.socket.setsockopt(zmq.RCVTIMEO, WAIT_MS)
        self.socket.setsockopt_string(zmq.SUBSCRIBE, f"kv@{server.url.partition('//')[2]}@{model}")
        self.socket.connect(self.publisher.endpoint)

    def replay(self, first: int) -> list[tuple[int, Batch]]:
        """Ask for the messages from number ``first`` on."""
        with self._context.socket(zmq.DEALER) as ask:
            ask.setsockopt(zmq.RCVTIMEO, WAIT_MS)
            ask.connect(self.publisher.replay_endpoint)
            ask.send_multipart((b"", first.to_bytes(8, "big")))
            batches: list[tuple[int, Batch]] = []
            while True:
                _, number, body = ask.recv_multipart()
                if int.from_bytes(number, "big", signed=True) == -1:
                    return batches
                batches.append((int.from_bytes(number, "big"), DECODE(body)))

    def held(self) -> dict[int, list[int]]:
        """Return every cached prefix by the hash of its last block, as the events tell it."""
        held: dict[int, list[int]] = {}
        for _, batch in self.replay(0):
            for event in batch.events:
                if isinstance(event, AllBlocksCleared):
                    held.clear()
                elif isinstance(event, BlockRemoved):
                    for block in event.block_hashes:
                        del held[block]
                else:
                    size = event.block_size
                    prefix = held.get(event.parent_block_hash or 0, [])
                    for index, block in enumerate(event.block_hashes):
                        prefix = prefix + event.token_ids[index * size : (index + 1) * size]
                        held[block] = prefix
        return held

    def close(self) -> None:
        self._context.destroy(linger=0)


def small(ingot: Ingot) -> EngineLoop:
    """An engine whose cache holds few blocks."""
    config = EngineConfig(max_sequences=1, max_context=256, num_blocks=20)
    executor = TorchExecutor(ingot, num_blocks=20, context=256)
    return EngineLoop(Engine(executor, ingot.tokenizer, config))


@pytest.fixture
def served(ingot_path: Path) -> Iterator[tuple[Server, httpx.Client, Subscriber]]:
    with contextlib.ExitStack() as stack:
        ingot = stack.enter_context(open_ingot(ingot_path))
        loop = small(ingot)
        stack.callback(loop.close, 5)
        server = Server(ingot, loop, ServerConfig(port=0), kv_events=config())
        stack.enter_context(server)
        http = stack.enter_context(httpx.Client(base_url=server.url, timeout=300))
        subscriber = Subscriber(server)
        stack.callback(subscriber.close)
        yield server, http, subscriber


def config(**fields: object) -> KvEventsConfig:
    return KvEventsConfig(**(LOCAL | fields))  # type: ignore[arg-type]


def ask(http: httpx.Client, prompt: list[int]) -> int:
    """Continue a prompt; return how many of its tokens were cached."""
    body = {"model": "tiny", "prompt": prompt, "max_tokens": 1, "temperature": 0}
    answer = http.post("/v1/completions", json=body).raise_for_status().json()
    # A step's events follow its output; once another step ran, they are published.
    http.post("/v1/completions", json=body | {"prompt": [1]}).raise_for_status()
    return int(answer["usage"]["prompt_tokens_details"]["cached_tokens"])


def test_a_subscriber_knows_what_the_cache_holds(
    served: tuple[Server, httpx.Client, Subscriber],
) -> None:
    """The prefixes that it knows are those that requests find, also after evictions."""
    _, http, subscriber = served
    for _ in range(2):
        for ids in PROMPTS:
            most = (len(ids) - 1) // 16 * 16
            known = [
                prefix for prefix in subscriber.held().values() if prefix == ids[: len(prefix)]
            ]
            expected = min(max(map(len, known), default=0), most)
            assert ask(http, ids) == expected
    numbers, batches = zip(*subscriber.replay(0), strict=True)
    assert list(numbers) == list(range(len(numbers)))
    kinds = {type(event) for batch in batches for event in batch.events}
    assert kinds == {BlockStored, BlockRemoved, AllBlocksCleared}  # so blocks were evicted
    assert {batch.data_parallel_rank for batch in batches} == {0}
    figures = http.get("/metrics").text
    assert f'ingot:kv_event_batches_total{{model_name="tiny"}} {len(numbers)}.0' in figures
    assert 'ingot:kv_event_batches_dropped_total{model_name="tiny"} 0.0' in figures
    times = [batch.ts for batch in batches]
    assert times == sorted(times)
    assert subscriber.replay(len(numbers) - 1) == [(len(numbers) - 1, batches[-1])]
    assert subscriber.replay(10**9) == []


def test_a_message_arrives_as_it_is_published(
    served: tuple[Server, httpx.Client, Subscriber],
) -> None:
    """Until the subscription is known, messages are lost; the number says how many."""
    server, http, subscriber = served
    subscriber.socket.setsockopt(zmq.RCVTIMEO, 100)
    parts: list[bytes] = []
    for attempt in range(300):
        ask(http, [attempt % 256, *PROMPTS[1]])
        with contextlib.suppress(zmq.Again):
            parts = subscriber.socket.recv_multipart()
            break
    subscriber.socket.setsockopt(zmq.RCVTIMEO, WAIT_MS)
    topic, number, body = parts
    assert topic.decode() == f"kv@{server.url.partition('//')[2]}@tiny"
    ((replayed, batch), *_) = subscriber.replay(int.from_bytes(number, "big"))
    assert (replayed, batch) == (int.from_bytes(number, "big"), DECODE(body))
    stored = [event for event in batch.events if isinstance(event, BlockStored)]
    assert stored
    assert stored[0].medium == "GPU"
    assert len(stored[0].token_ids) == stored[0].block_size * len(stored[0].block_hashes)
    assert stored[0].extra_keys == [None] * len(stored[0].block_hashes)


def test_a_replaced_model_starts_with_an_empty_cache(ingot_path: Path, tmp_path: Path) -> None:
    opened: list[tuple[Ingot, EngineLoop]] = []

    def load(path: Path, weights: Weights) -> tuple[Ingot, EngineLoop]:
        another = open_ingot(path)
        opened.append((another, small(another)))
        return opened[-1]

    key, entry = make_key("admin")
    path = tmp_path / "keys.toml"
    path.write_text(f"{entry}admin = true\n")
    server = Server(
        *load(ingot_path, "stored"),
        ServerConfig(port=0, api_keys=path),
        loader=load,
        kv_events=config(),
    )
    headers = {"authorization": f"Bearer {key}"}
    with server, httpx.Client(base_url=server.url, headers=headers, timeout=300) as http:
        subscriber = Subscriber(server)
        ask(http, PROMPTS[0])
        assert subscriber.held()
        body = {"model": "tiny", "path": str(ingot_path)}
        http.post("/admin/ingots", json=body).raise_for_status()
        assert ask(http, PROMPTS[1]) == 0
        held = subscriber.held().values()
        assert held
        assert all(prefix == PROMPTS[1][: len(prefix)] for prefix in held)
        http.post("/admin/ingots", json=body | {"model": "more"}).raise_for_status()
        further = Subscriber(server, "more")
        assert further.publisher.endpoint != subscriber.publisher.endpoint
        assert further.held() == {}
        for one in (subscriber, further):
            one.close()
    for ingot, loop in opened:
        loop.close(5)
        ingot.close()


def test_each_key_has_blocks_of_its_own(ingot: Ingot, engine: EngineLoop, tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    made = [make_key(name) for name in ("ann", "bob")]
    path.write_text("\n".join(entry for _, entry in made))
    server_config = ServerConfig(port=0, api_keys=path)
    with Server(ingot, engine, server_config, kv_events=config()) as server:
        subscriber = Subscriber(server)
        begun = subscriber.publisher.published
        for key, _ in made:
            body = {"model": "tiny", "prompt": PROMPTS[2], "max_tokens": 1, "temperature": 0}
            httpx.post(
                f"{server.url}/v1/completions",
                json=body,
                headers={"authorization": f"Bearer {key}"},
                timeout=300,
            ).raise_for_status()
        stored = [
            event
            for _, batch in subscriber.replay(begun)
            for event in batch.events
            if isinstance(event, BlockStored) and event.parent_block_hash is None
        ]
        subscriber.close()
    first, second = stored
    assert first.token_ids == second.token_ids
    assert not set(first.block_hashes) & set(second.block_hashes)
    assert first.extra_keys
    assert second.extra_keys
    assert first.extra_keys[0] != second.extra_keys[0]
    assert "ann" not in str(first.extra_keys)


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"endpoint": "tcp://0.0.0.0:5557"}, "other machines"),
        ({"endpoint": "tcp://*:5557"}, "other machines"),
        ({"endpoint": "udp://127.0.0.1:5557"}, "not an endpoint"),
        ({"endpoint": "tcp://127.0.0.1:70000"}, "not an endpoint"),
        ({"replay_endpoint": "tcp://[::]:1"}, "replay_endpoint: other machines"),
        ({"endpoint": None}, "needs kv_events.endpoint"),
    ],
)
def test_a_wrong_endpoint_is_refused(
    ingot: Ingot, engine: EngineLoop, fields: dict[str, object], where: str
) -> None:
    with pytest.raises(UsageError, match=where):
        Server(ingot, engine, ServerConfig(port=0), kv_events=config(**fields))


def test_a_port_in_use_is_named(ingot: Ingot, engine: EngineLoop) -> None:
    with zmq.Context() as context, context.socket(zmq.PUB) as taken:
        port = taken.bind_to_random_port("tcp://127.0.0.1")
        endpoint = f"tcp://127.0.0.1:{port}"
        with pytest.raises(ServeError, match=f"{endpoint}: cannot publish there"):
            Server(ingot, engine, ServerConfig(port=0), kv_events=config(endpoint=endpoint))


def test_serving_imports_neither_library_unless_asked() -> None:
    code = "import sys, ingot.server; print({'zmq', 'msgspec'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
