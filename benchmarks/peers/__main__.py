"""``python -m benchmarks.peers install [NAME ...]``."""

from __future__ import annotations

import argparse
import subprocess
import sys

from rich.console import Console

from benchmarks.peers.environments import ENVIRONMENTS, Environment
from benchmarks.peers.first_answer import ask_once
from benchmarks.peers.process import PeerFailed


def main() -> int:
    """Install the named peers, or all; return 0 if every one answers."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers", description="Other engines to compare with."
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    install = verbs.add_parser(
        "install", help="make their environments under .peers/ (minutes to an hour)"
    )
    install.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(ENVIRONMENTS)}")
    verbs.add_parser("list", help="list the peers and whether they are installed")
    given = parser.parse_args()
    console = Console(highlight=False, soft_wrap=True)
    if given.verb == "list":
        for each in ENVIRONMENTS.values():
            console.print(f"{each.name}: {'installed' if each.installed else 'not installed'}")
        return 0
    if unknown := set(given.names) - set(ENVIRONMENTS):
        parser.error(f"unknown peer: {', '.join(unknown)}; give one of {', '.join(ENVIRONMENTS)}")
    failed = []
    for name in given.names or ENVIRONMENTS:
        console.print(f"installing {name} into {ENVIRONMENTS[name].folder} ...")
        try:
            install_peer(ENVIRONMENTS[name])
        except (subprocess.SubprocessError, OSError, PeerFailed) as error:
            failed.append(name)
            console.print(f"error: {name} was not installed: {_reason(error)}", markup=False)
    return 1 if failed else 0


def install_peer(environment: Environment) -> None:
    """Install a peer, ask it once, and only then mark it as installed.

    Raises:
        subprocess.SubprocessError: A command failed, pip's or the peer's own.
        PeerFailed: The peer ended without an answer.
    """
    if environment.installed:
        return
    environment.install()
    ask_once(environment)
    environment.mark_installed()


def _reason(error: Exception) -> str:
    """Return what failed, with the end of its output where it was captured."""
    output = getattr(error, "stderr", None) or b""
    return f"{error}\n{output[-800:].decode(errors='replace')}".rstrip()


if __name__ == "__main__":
    sys.exit(main())
