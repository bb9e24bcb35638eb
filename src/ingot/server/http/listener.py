"""Listening socket, bound before the slow work of loading a model."""

from __future__ import annotations

import errno
import ipaddress
import socket

from ingot.errors import ServeError
from ingot.server.config import ServerConfig
from ingot.server.http.unix_socket import listen_unix

BACKLOG = 8192
"""Connections that may wait to be accepted; the system may permit fewer."""

_LOST_AFTER_S = 60
_TAKEN_AT_ONCE = 8


def listen(config: ServerConfig) -> socket.socket:
    """Bind the configured address, or Unix socket, and listen on it.

    Raises:
        ServeError: the name is unknown, the port is taken or not permitted, or
            other machines could reach it, no keys are required, and
            ``allow_public`` is not set.
    """
    if config.uds is not None:
        return listen_unix(config.uds, BACKLOG)
    endpoint = f"{config.host}:{config.port}"
    try:
        found = socket.getaddrinfo(
            config.host, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as error:
        raise ServeError(
            f"the address is unknown ({error})", where=endpoint, fix="use 127.0.0.1"
        ) from error
    family, kind, protocol, _, address = found[0]
    _check_private(str(address[0]), config, endpoint)
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _notice_lost_peers(listener, config)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise _explain(error, config, endpoint) from error
    return listener


def at_once(listener: socket.socket) -> list[socket.socket]:
    """Return duplicates of a listener, itself the first, so that more are accepted at once.

    libuv accepts one connection from each handle in an iteration of the event loop (since
    1.45). While iterations are long because many streams are written, each new connection
    waits for one: behind 5,000 requests that was up to 6 s.
    """
    return [listener, *(listener.dup() for _ in range(_TAKEN_AT_ONCE - 1))]


def url_of(listener: socket.socket, config: ServerConfig) -> str:
    """Return the address to open in a browser on this machine; ``unix:PATH`` for a Unix socket."""
    if listener.family == socket.AF_UNIX:
        return f"unix:{listener.getsockname()}"
    scheme = "https" if config.tls_cert else "http"
    host, port = listener.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        host = "::1" if ":" in host else "127.0.0.1"
    name = f"[{host}]" if ":" in host else host
    return f"{scheme}://{name}:{port}{config.root_path}"


def _notice_lost_peers(listener: socket.socket, config: ServerConfig) -> None:
    """Have the kernel close accepted connections whose peer vanished without closing them.

    A connection that is idle for a minute is probed three times, and one whose data
    goes unacknowledged for as long, or for ``write_timeout_s``, is closed.
    """
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        ("TCP_KEEPIDLE", _LOST_AFTER_S),
        ("TCP_KEEPINTVL", 10),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", round(1000 * max(_LOST_AFTER_S, config.write_timeout_s))),
    ):
        if hasattr(socket, option):  # Linux has them all
            listener.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def _check_private(address: str, config: ServerConfig, endpoint: str) -> None:
    """Refuse an address that other machines can reach, unless keys or a setting allow it."""
    if (
        config.allow_public
        or config.api_keys
        or ipaddress.ip_address(address.partition("%")[0]).is_loopback
    ):
        return
    raise ServeError(
        "other machines can reach this address, and no API key is required",
        where=endpoint,
        fix="add --api-keys keys.toml (made with: ingot new-key NAME >> keys.toml), "
        "or --allow-public if the network is trusted",
    )


def _explain(error: OSError, config: ServerConfig, endpoint: str) -> ServeError:
    """Turn an error of the socket into one that says what to do."""
    if error.errno == errno.EADDRINUSE:
        fix = f"choose another: --port {config.port % 65535 + 1}, or --port 0 for a free one"
        return ServeError(f"port {config.port} is in use", where=endpoint, fix=fix)
    if error.errno == errno.EACCES:
        return ServeError(
            f"port {config.port} is not permitted", where=endpoint, fix="choose one above 1023"
        )
    return ServeError(f"cannot listen ({error.strerror})", where=endpoint, fix="use 127.0.0.1")
