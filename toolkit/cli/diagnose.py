"""`toolkit diagnose` and `toolkit logs`: the playbook's appendix, as bounded questions and the live log."""

import time
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from toolkit.cli.options import Json, examples, print_json
from toolkit.cli.rollback_display import show_rows
from toolkit.cli.rollback_options import DatabaseUrlEnv, PlaybookPath, TargetName

if TYPE_CHECKING:
    from toolkit.adapters.systems import Systems
    from toolkit.adapters.traffic import LoggedRequest

EXAMPLES = examples("toolkit diagnose --target sandbox", "toolkit diagnose --target production --json")
LOGS_EXAMPLES = examples("toolkit logs --target sandbox", "toolkit logs --target production --failed --seconds 60")


def diagnose(
    target: TargetName = "",
    database_url_env: DatabaseUrlEnv = "",
    playbook: PlaybookPath = "",
    json: Json = False,
) -> None:
    """Connections, long queries, locks, tables, replication, statements, deployments, variables: and what is unusual.

    Read only, within 10 seconds whatever is down. Exit code 0 when nothing is unusual, 3 otherwise.
    """
    from toolkit.assess.diagnosis import diagnose as ask

    systems = _systems(target, database_url_env, playbook)
    found = ask(systems)
    if json:
        print_json({"target": systems.target.name, "questions": [each.to_json() for each in found]})
    else:
        for each in found:
            instead = f", instead of `{each.instead_of}`" if each.instead_of else ""
            show_rows(Console(), f"{each.name}{instead}", each.rows)
            if each.trouble or not each.rows:
                typer.echo(f"{each.name}: {f'unknown: {each.trouble}' if each.trouble else 'none'}")
            for said in each.unusual:
                typer.echo(f"! {said}")
        typer.echo("Nothing was changed.")
    raise typer.Exit(3 if any(each.unusual or each.trouble for each in found) else 0)


def logs(
    target: TargetName = "",
    playbook: PlaybookPath = "",
    seconds: Annotated[float, typer.Option("--seconds", min=1, max=300, help="How long to follow.")] = 30.0,
    failed: Annotated[bool, typer.Option("--failed", help="Only requests that failed.")] = False,
    json: Json = False,
) -> None:
    """Follow the live deployment's requests: status, endpoint, and what the database said. No payloads, no values.

    In the place of `tail -f`: there is no file on a serverless platform. With --json one object when it ends.
    """
    from toolkit.adapters.traffic import LoggedRequest, Reader
    from toolkit.clock import utc_now

    systems = _systems(target, "", playbook)
    live = systems.platform.production(systems.production_host)
    reader, ends, seen = Reader(), time.monotonic() + seconds, list[LoggedRequest]()
    for line in systems.platform.runtime_logs(live.id, within=seconds):
        request = reader.read(line)
        if request is not None and (request.failed or not failed):
            seen.append(request)
            if not json:
                typer.echo(f"{line.at:%H:%M:%S} {_said(request)}")
        if time.monotonic() >= ends:
            break
    if json:
        print_json({"deployment": live.id, "until": utc_now(), "requests": [vars(each) for each in seen]})
    else:
        typer.echo(f"{len(seen)} requests of {live.id} in {seconds:g} s.")


def _said(request: "LoggedRequest") -> str:
    error = request.error
    why = f"  {error.sqlstate or ''} {error.message or ''}".rstrip() if error else ""
    took = "" if request.ms is None else f" {request.ms:.0f} ms"
    return f"{request.status} {request.method} {request.path}{took}{why}"


def _systems(target: str, database_url_env: str, playbook: str) -> "Systems":
    from toolkit.adapters.systems import connect
    from toolkit.playbook import load_playbook

    book = load_playbook(playbook or None)
    return connect(book, book.target(target or None, database_url_env=database_url_env, database_only=True))
