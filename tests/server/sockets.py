"""Bare sockets to a server, for what no HTTP client would send."""

from __future__ import annotations

import json
import socket

from ingot.server import Server

HOST = b"host: localhost\r\n"


def connect(server: Server) -> socket.socket:
    """Open a connection."""
    host, port = server.url.split("//")[1].split(":")
    return socket.create_connection((host, int(port)), timeout=300)


def read_all(connection: socket.socket) -> bytes:
    """Return what comes until the server closes."""
    received = b""
    while True:
        try:
            piece = connection.recv(65_536)
        except ConnectionResetError:
            return received
        if not piece:
            return received
        received += piece


def read_until(connection: socket.socket, end: bytes) -> bytes:
    """Return what comes until ``end`` was received."""
    received = b""
    while end not in received:
        piece = connection.recv(65_536)
        assert piece, received
        received += piece
    return received


def post(path: str, body: object, *headers: bytes, version: bytes = b"1.1") -> bytes:
    """Return a POST request as bytes; its further headers without line ends."""
    data = json.dumps(body).encode()
    lines = [b"content-type: application/json", b"content-length: %d" % len(data), *headers]
    head = b"POST %b HTTP/%b\r\n%b" % (path.encode(), version, HOST)
    return head + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + data


def send_endlessly(connection: socket.socket, piece: bytes, most: int) -> int:
    """Send ``piece`` until the server closes or ``most`` bytes are sent; return how many were."""
    sent = 0
    while sent < most:
        try:
            connection.sendall(piece)
        except OSError:
            break
        sent += len(piece)
    return sent
