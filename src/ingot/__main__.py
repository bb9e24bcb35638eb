"""``python -m ingot``: the command line."""

from ingot.cli import main

main()
