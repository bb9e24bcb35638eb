"""Program of the process that encodes long texts; imports nothing of Ingot.

First ``tokenizer.json`` comes in, then texts in UTF-8; for each text its token ids go out as
little-endian uint32. A message is its length in bytes (8, little-endian) and its bytes.
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
    tokenizer = Tokenizer.from_str((_read(incoming) or b"").decode())
    tokenizer.encode_special_tokens = True  # written out in a text they are plain text
    while (text := _read(incoming)) is not None:
        ids = array.array("I", tokenizer.encode(text.decode(), add_special_tokens=False).ids)
        if sys.byteorder == "big":
            ids.byteswap()
        data = ids.tobytes()
        outgoing.write(len(data).to_bytes(8, "little") + data)
        outgoing.flush()


def _read(stream: BinaryIO) -> bytes | None:
    """Return the next message; None at the end of the input."""
    head = stream.read(8)
    return stream.read(int.from_bytes(head, "little")) if len(head) == 8 else None


if __name__ == "__main__":
    main()
