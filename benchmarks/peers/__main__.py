"""``python -m benchmarks.peers install [NAME ...]``."""

from __future__ import annotations

import argparse
import subprocess
import sys

from rich.console import Console

from benchmarks.peers.environments import ENVIRONMENTS


def main() -> int:
    """Install the peers that were named, or all; return 0 if every one is there."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers", description="Other engines, to be compared with."
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    install = verbs.add_parser("install", help="make their environments under .peers/ (minutes)")
    install.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(ENVIRONMENTS)}")
    verbs.add_parser("list", help="say which are there")
    given = parser.parse_args()
    console = Console(highlight=False, soft_wrap=True)
    if given.verb == "list":
        for each in ENVIRONMENTS.values():
            console.print(f"{each.name}: {'installed' if each.installed else 'not installed'}")
        return 0
    if unknown := set(given.names) - set(ENVIRONMENTS):
        parser.error(f"no such peer: {', '.join(unknown)}; there are {', '.join(ENVIRONMENTS)}")
    failed = []
    for name in given.names or ENVIRONMENTS:
        console.print(f"installing {name} into {ENVIRONMENTS[name].folder} ...")
        try:
            ENVIRONMENTS[name].install()
        except (subprocess.SubprocessError, OSError) as error:
            failed.append(name)
            console.print(f"error: {name} was not installed: {error}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
