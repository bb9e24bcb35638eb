"""The verb that lists all settings."""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ingot.cli.options import Json, say

if TYPE_CHECKING:
    from ingot.api.settings_reference import Section

app = typer.Typer()


@app.command(epilog="Example: **ingot settings optimizer**; **ingot settings server.port**")
def settings(
    name: Annotated[
        str | None, typer.Argument(help="A section or a key; all of them by default.")
    ] = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print a page of Markdown instead of tables.")
    ] = False,
    json: Json = False,
) -> None:
    """List the settings of recipes, server and engine: type, range, default, meaning."""
    from ingot.api.settings_reference import find_sections, to_markdown

    sections = find_sections(name)
    if json:
        say(True, [dataclasses.asdict(section) for section in sections], "")
    elif markdown:
        sys.stdout.write(to_markdown(sections))
    else:
        console = Console()
        for section in sections:
            console.print(_table(section))


def _table(section: Section) -> Table:
    table = Table(
        title=Text(f"[{section.name}]  {section.meaning}", style="bold"),
        title_justify="left",
        box=None,
        padding=(0, 2, 0, 0),
        header_style="dim",
    )
    table.add_column("key", no_wrap=True)
    table.add_column("default", max_width=24, overflow="fold")
    table.add_column("meaning, and type", ratio=1)
    for setting in section.settings:
        meaning = Text(setting.meaning.replace("`", "") + " ")
        meaning.append(setting.kind.replace("`", ""), style="dim")
        table.add_row(setting.key, Text(setting.default), meaning)
    return table
