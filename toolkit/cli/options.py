"""Options that several commands share, and how an answer is printed."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from toolkit.errors import ToolkitError
from toolkit.redaction import redact

REPORTS = Path("reports")

Json = Annotated[bool, typer.Option("--json", help="Answer with one JSON object on standard output.")]
SandboxName = Annotated[str, typer.Option("--name", help="The sandbox's name; several run side by side.")]
Seed = Annotated[int, typer.Option("--seed", help="Decides data and traffic. The same seed sends the same events.")]
DatabaseUrlEnv = Annotated[
    str,
    typer.Option(
        help="The variable that holds a superuser's URL of a PostgreSQL for trying things. The sandbox makes a "
        "database and roles of its own there, and removes them. Without it the sandbox has a server of its own."
    ),
]


def print_json(answer: Mapping[str, Any]) -> None:
    typer.echo(json.dumps(answer, indent=2, default=str))


def told_error(error: ToolkitError) -> dict[str, str | None]:
    """An error as the fields of an answer."""
    return {
        name: redact(said) if said else said
        for name, said in (
            ("error", error.what),
            ("target", error.target),
            ("state", error.state),
            ("next", error.next),
        )
    }


def answer(told: Mapping[str, Any], error: ToolkitError | None) -> None:
    """One JSON object, whatever came of it: `error` is merged into it, told on standard error, and ends the program."""
    print_json(dict(told) | (told_error(error) if error else {}))
    if error:
        typer.echo(str(error), err=True)
        raise typer.Exit(error.exit_code)


def examples(*lines: str) -> str:
    """The epilog of a command's help: its examples, one a line."""
    return "**Examples**\n\n" + "\n\n".join(f"`{line}`" for line in lines)
