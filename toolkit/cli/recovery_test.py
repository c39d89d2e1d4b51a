"""`toolkit recovery-test`: restore the newest real backup on a scratch server, time it, and look at what is in it."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from toolkit.cli.options import REPORTS, Json, answer, examples
from toolkit.clock import utc_now

EXAMPLES = examples(
    "toolkit recovery-test --target production",
    "toolkit recovery-test --target production --backup /backups/2026-12-01.dump --json",
)


def recovery_test(
    target: Annotated[str, typer.Option(help="Whose backups: a target of the playbook.")] = "",
    backup: Annotated[Path | None, typer.Option(help="A backup or a dump; without it the newest.")] = None,
    out: Annotated[Path | None, typer.Option(help="The folder to leave behind; it must not exist.")] = None,
    playbook: Annotated[str, typer.Option(help="The playbook of the service.")] = "",
    json: Json = False,
) -> None:
    """The yearly recovery test. Nothing is asked of the target itself: the file alone must bring the data back.

    Exit code 0 when everything passed; 3 when something failed or could not be looked at.
    """
    import json as writing

    from toolkit.checks import Outcome
    from toolkit.errors import ToolkitError, UnverifiedError, UsageError
    from toolkit.playbook import load_playbook
    from toolkit.rollback.recovery_test import newest_backup, run_recovery_test

    book = load_playbook(playbook or None)
    name, backups = book.backups_of(target or None)
    if backup is not None and not backup.exists():
        raise UsageError(f"There is no backup at {backup}", state="nothing was done", next="name another")
    tested = backup or newest_backup(name, backups)
    folder = out or REPORTS / "recovery" / f"{utc_now():%Y%m%dT%H%M%SZ}-{name}"
    if folder.exists():
        raise UsageError(f"{folder} exists already", state="nothing was done", next="name another with --out")
    console = Console(stderr=True)
    with console.status(f"Restoring {tested.name} on a scratch server"):
        done = run_recovery_test(book, name, tested)
    folder.mkdir(parents=True)
    (folder / "recovery.json").write_text(writing.dumps(done.to_json(), indent=2, default=str) + "\n")
    error: ToolkitError | None = None
    if done.outcome is not Outcome.PASS:
        wrong = "; ".join(f"{each.name}: {each.evidence}" for each in done.results if each.outcome is not Outcome.PASS)
        error = UnverifiedError(
            f"The recovery test of {tested.name} did not pass: {wrong}",
            target=name,
            state=f"nothing was changed; the evidence is in {folder}",
            next="mend the backups, then test again",
        )
    if not json:
        table = Table("", "check", "evidence")
        for each in done.results:
            table.add_row(str(each.outcome), each.name, each.evidence)
        Console().print(table)
        typer.echo(f"Evidence: {folder}")
        if error:
            raise error
        return
    answer(done.to_json() | {"folder": str(folder)}, error)
