"""Program of the process that encodes long texts; imports nothing of Ingot.

First two ``tokenizer.json`` come in, the second for texts that continue others and empty where it
is the same. Then texts in UTF-8, each behind a byte that is 1 if it continues another; for each
its token ids go out as little-endian uint32. A message is its length in bytes (8, little-endian)
and its bytes.
"""

from __future__ import annotations

import array
import os
import sys
from typing import BinaryIO

from tokenizers import Tokenizer

# A tenth of the share of the engine's threads. Each step waits for all of them, so one that
# shares its CPU with a text delays every stream; at 19 long texts would take minutes.
_NICENESS = 10


def main() -> None:
    """Encode texts until the input ends."""
    os.nice(_NICENESS)
    incoming, outgoing = sys.stdin.buffer, sys.stdout.buffer
    whole = _tokenizer(_read(incoming) or b"")
    other = _read(incoming)
    tokenizers = whole, _tokenizer(other) if other else whole
    while (message := _read(incoming)) is not None:
        tokenizer, text = tokenizers[message[0]], message[1:].decode()
        ids = array.array("I", tokenizer.encode(text, add_special_tokens=False).ids)
        if sys.byteorder == "big":
            ids.byteswap()
        data = ids.tobytes()
        outgoing.write(len(data).to_bytes(8, "little") + data)
        outgoing.flush()


def _tokenizer(content: bytes) -> Tokenizer:
    tokenizer = Tokenizer.from_str(content.decode())
    tokenizer.encode_special_tokens = True  # written out in a text they are plain text
    return tokenizer


def _read(stream: BinaryIO) -> bytes | None:
    """Return the next message; None at the end of the input."""
    head = stream.read(8)
    return stream.read(int.from_bytes(head, "little")) if len(head) == 8 else None


if __name__ == "__main__":
    main()
