"""Identifiers of requests, answers and their parts."""

from __future__ import annotations

import random
import secrets

# Asking the system for random bytes releases the GIL, and taking it back waits for the engine's
# thread: 60 µs an identifier under load. These need only be unique, so a generator serves that
# was seeded from the system once.
_random = random.Random(secrets.randbits(256))


def new_id(prefix: str = "") -> str:
    """Return an identifier, ``prefix`` and 128 random bits in hexadecimal.

    Unique, but not secret: a client that has seen many can predict the next.
    """
    return f"{prefix}{_random.getrandbits(128):032x}"
