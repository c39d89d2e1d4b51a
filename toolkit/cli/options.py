"""Options that several commands share, and how an answer is printed."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

REPORTS = Path("reports")

Json = Annotated[bool, typer.Option("--json", help="Answer with one JSON object on standard output.")]
SandboxName = Annotated[str, typer.Option("--name", help="The sandbox's name; several run side by side.")]
Seed = Annotated[int, typer.Option("--seed", help="Decides data and traffic. The same seed sends the same events.")]


def print_json(answer: Mapping[str, Any]) -> None:
    typer.echo(json.dumps(answer, indent=2, default=str))


def examples(*lines: str) -> str:
    """The epilog of a command's help: its examples, one a line."""
    return "**Examples**\n\n" + "\n\n".join(f"`{line}`" for line in lines)
