"""``python -m ingot.server.access.new_key NAME``: a new API key on stderr, its entry on stdout."""

from __future__ import annotations

import sys

from ingot.errors import UsageError
from ingot.server.access.api_keys import make_key


def main() -> None:
    """Make one key for the name on the command line."""
    try:
        if len(sys.argv) != 2:
            raise UsageError("takes one name", where="python -m ingot.server.access.new_key")
        key, entry = make_key(sys.argv[1])
    except UsageError as error:
        sys.exit(f"error: {error}")
    sys.stderr.write(f"{key}\n")
    sys.stdout.write(entry)


if __name__ == "__main__":
    main()
