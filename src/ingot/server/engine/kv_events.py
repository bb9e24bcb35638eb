"""Events of the prefix caches over ZeroMQ, in vLLM's format, for routers.

A message has three parts: topic, sequence number (8 bytes, big-endian), and MessagePack of
``[time, events, rank]``. Each event is a map with its ``type`` (vllm-project/vllm#42892). A
subscriber that missed messages asks the replay socket, with the first number that it lacks, for
those that are still kept.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from ingot.errors import ServeError, UsageError
from ingot.inference import RequestLoop
from ingot.inference.scheduling.cache_events import (
    BlocksRemoved,
    BlocksStored,
    CacheEvent,
)

if TYPE_CHECKING:
    import zmq

_TCP = re.compile(r"tcp://(?P<host>\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+|\*):(?P<port>\d{1,5}|\*)")
_IPC = re.compile(r"ipc://[^\x00]{1,90}")
_END = (-1).to_bytes(8, "big", signed=True)
_MEDIUM = "GPU"  # as vLLM on any machine: routers score it as the fast level of the cache
_RANK = 0
_MOST_QUEUED = 10_000
_MOST_UNSENT = 100_000  # as vLLM
_JOIN_S = 5.0


class KvEventsConfig(BaseModel):
    """Events of the prefix cache for routers, in vLLM's format; off unless an endpoint is set."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    endpoint: str | None = None
    """Where to publish, such as ``tcp://127.0.0.1:5557``; each further model has the next port."""
    replay_endpoint: str | None = None
    """Where subscribers ask for what they missed, such as ``tcp://127.0.0.1:5657``; likewise."""
    pod: Annotated[str, Field(max_length=256, pattern=r"^[^@\x00]*$")] = ""
    """Address by which routers know this server, in the topic ``kv@POD@MODEL``; empty takes its
    host and port."""
    kept_batches: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    """Messages kept for subscribers that missed them."""
    allow_public: bool = False
    """Allow addresses that other machines can reach: events hold the tokens of all prompts, and
    anyone who can connect may read them."""


class KvEvents:
    """The publishers of a server's models, one for each name. Used on the event loop alone.

    Args:
        config: Where to publish.
        pod: The server's own host and port, unless ``config`` names it.

    Raises:
        UsageError: an endpoint is malformed or public, or pyzmq or msgspec is not installed.
    """

    def __init__(self, config: KvEventsConfig, pod: str) -> None:
        self._config = config
        self._pod = config.pod or pod
        self._publishers: dict[str, KvEventPublisher] = {}
        self._watched: dict[str, RequestLoop] = {}
        if config.endpoint is None and config.replay_endpoint is not None:
            raise UsageError(
                "needs kv_events.endpoint", where="kv_events.replay_endpoint", fix="set it too"
            )
        for name in ("endpoint", "replay_endpoint"):
            _check(f"kv_events.{name}", getattr(config, name), config)

    @property
    def publishers(self) -> dict[str, KvEventPublisher]:
        """By name of the model."""
        return self._publishers

    def watch(self, name: str, loop: RequestLoop) -> None:
        """Publish what an engine's cache does as model ``name``, in place of another engine.

        Raises:
            ServeError: its endpoint cannot be bound.
        """
        if self._config.endpoint is None:
            return
        if name not in self._publishers:
            index = len(self._publishers)
            self._publishers[name] = KvEventPublisher(
                f"kv@{self._pod}@{name}",
                _numbered(self._config.endpoint, index),
                self._config.replay_endpoint and _numbered(self._config.replay_endpoint, index),
                self._config.kept_batches,
            )
        publish = self._publishers[name].attach()
        if (before := self._watched.get(name)) is not None:
            before.watch_cache(None)
        self._watched[name] = loop
        loop.watch_cache(publish)

    def close(self) -> None:
        """Send what is queued and close every socket."""
        while self._watched:
            self._watched.popitem()[1].watch_cache(None)
        while self._publishers:
            self._publishers.popitem()[1].close()


class KvEventPublisher:
    """One stream of events, sent by a thread of its own.

    Args:
        topic: First part of each message.
        endpoint: Where to publish.
        replay_endpoint: Where to answer those who missed messages; None: nowhere.
        kept: Messages kept for these.

    Raises:
        UsageError: pyzmq or msgspec is not installed.
        ServeError: an endpoint cannot be bound.
    """

    def __init__(self, topic: str, endpoint: str, replay_endpoint: str | None, kept: int) -> None:
        try:
            import msgspec
            import zmq
        except ImportError as error:
            raise UsageError(
                f"needs {error.name}", where="kv_events.endpoint", fix="install ingot[fleet]"
            ) from error
        self._topic = topic.encode()
        self._pack = msgspec.msgpack.Encoder().encode
        self._kept = deque[tuple[bytes, bytes]](maxlen=kept)
        # Sockets are used by the thread alone once it runs.
        self._context = zmq.Context()
        self._pub = self._context.socket(zmq.PUB)
        self._replay: zmq.Socket[bytes] | None = None
        self.replay_endpoint: str | None = None
        """Address of the replay socket, if there is one."""
        try:
            self.endpoint = _bind(self._pub, endpoint, _MOST_UNSENT)
            """Address that it is bound to."""
            if replay_endpoint is not None:
                self._replay = self._context.socket(zmq.ROUTER)
                self.replay_endpoint = _bind(self._replay, replay_endpoint, kept + 1)
        except ServeError:
            self._context.destroy(linger=0)
            raise
        self._poller = zmq.Poller()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poller.register(self._wake, zmq.POLLIN)
        if self._replay is not None:
            self._poller.register(self._replay, zmq.POLLIN)
        self._lock = threading.Lock()
        # Guarded by the lock:
        self._queue = deque[tuple[int, float, list[CacheEvent]]]()
        self._next = 0
        self._owner: object = None
        self._closing = False
        self.dropped = 0
        """Batches lost because the thread did not keep up; subscribers see a gap in the numbers."""
        self._thread = threading.Thread(target=self._run, name="ingot-kv-events", daemon=True)
        self._thread.start()

    @property
    def published(self) -> int:
        """Batches numbered so far."""
        return self._next

    def attach(self) -> Callable[[list[CacheEvent]], None]:
        """Return what queues a batch: thread-safe, never blocks, no effect after the next call.

        So an engine that was replaced, and still finishes requests, publishes nothing.
        """
        owner = object()
        with self._lock:
            self._owner = owner
        return partial(self._publish, owner)

    def _publish(self, owner: object, events: list[CacheEvent]) -> None:
        with self._lock:
            if self._closing or self._owner is not owner:
                return
            number, self._next = self._next, self._next + 1
            if len(self._queue) >= _MOST_QUEUED:
                self.dropped += 1
                return
            self._queue.append((number, time.time(), events))
            os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        """Send what is queued and close the sockets."""
        with self._lock:
            if self._closing:
                return
            self._closing = True
            os.eventfd_write(self._wake, 1)
        self._thread.join(_JOIN_S)

    def _run(self) -> None:
        """Send batches and answer replays until closed."""
        closing = False
        while not closing:
            ready = dict(self._poller.poll())
            if self._wake in ready:
                os.eventfd_read(self._wake)
            with self._lock:
                batches, self._queue = self._queue, deque()
                closing = self._closing
            for batch in batches:
                self._send(*batch)
            if self._replay is not None and self._replay in ready:
                self._answer_replay(self._replay)
        self._context.destroy(linger=int(1000 * _JOIN_S / 2))
        os.close(self._wake)

    def _send(self, number: int, moment: float, events: list[CacheEvent]) -> None:
        body = self._pack([moment, [described(event) for event in events], _RANK])
        sequence = number.to_bytes(8, "big")
        self._kept.append((sequence, body))
        self._pub.send_multipart((self._topic, sequence, body))

    def _answer_replay(self, replay: zmq.Socket[bytes]) -> None:
        """Send the kept messages from a number on, then an end mark; ignore what is not a request.

        A client that does not read loses messages: the socket drops what its queue cannot hold.
        """
        parts = replay.recv_multipart()
        if len(parts) != 3 or len(parts[2]) != 8:
            return
        client, _, first = parts
        for sequence, body in list(self._kept):
            if sequence >= first:  # big-endian, so bytes compare as numbers do
                replay.send_multipart((client, b"", sequence, body))
        replay.send_multipart((client, b"", _END, b""))


def described(event: CacheEvent) -> dict[str, Any]:
    """Return an event as vLLM writes it."""
    if isinstance(event, BlocksStored):
        extra: list[list[str] | None] = [None] * len(event.hashes)
        if event.salt:
            extra[0] = [event.salt]
        return {
            "type": "BlockStored",
            "block_hashes": event.hashes,
            "parent_block_hash": event.parent,
            "token_ids": event.token_ids,
            "block_size": len(event.token_ids) // len(event.hashes),
            "lora_id": None,
            "medium": _MEDIUM,
            "lora_name": None,
            "extra_keys": extra,
        }
    if isinstance(event, BlocksRemoved):
        return {"type": "BlockRemoved", "block_hashes": event.hashes, "medium": _MEDIUM}
    return {"type": "AllBlocksCleared"}


def _bind(socket: zmq.Socket[bytes], endpoint: str, most_unsent: int) -> str:
    """Bind a socket; return the address, its port chosen where a ``*`` stands for it."""
    import zmq

    socket.set_hwm(most_unsent)  # for each peer; beyond, messages to it are dropped
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as error:
        raise ServeError(
            f"cannot publish there ({error.strerror})",
            where=endpoint,
            fix="set another kv_events.endpoint",
        ) from error
    return str(socket.getsockopt_string(zmq.LAST_ENDPOINT)).rstrip("\x00")


def _numbered(endpoint: str, index: int) -> str:
    """Return the endpoint of model number ``index``: the next ports, as vLLM's ranks have."""
    found = _TCP.fullmatch(endpoint)
    if found is None:
        return f"{endpoint}.{index}" if index else endpoint
    port = found["port"]
    return endpoint if port == "*" else f"tcp://{found['host']}:{int(port) + index}"


def _check(setting: str, endpoint: str | None, config: KvEventsConfig) -> None:
    """Refuse an endpoint that is malformed, or public without permission."""
    if endpoint is None or _IPC.fullmatch(endpoint):
        return
    found = _TCP.fullmatch(endpoint)
    if found is None or (found["port"] != "*" and not 0 < int(found["port"]) <= 65535):
        raise UsageError(
            f"{endpoint[:60]!r} is not an endpoint",
            where=setting,
            fix="write tcp://127.0.0.1:5557 or ipc:///run/ingot.kv",
        )
    host = found["host"].strip("[]")
    private = host == "localhost"
    with contextlib.suppress(ValueError):
        private |= ipaddress.ip_address(host).is_loopback
    if not (private or config.allow_public):
        raise UsageError(
            "other machines can reach this address, and events hold the tokens of all prompts",
            where=setting,
            fix="use 127.0.0.1, or set kv_events.allow_public=true on a trusted network",
        )
