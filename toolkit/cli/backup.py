"""`toolkit backup`: what backups there are, whether they are good, which may go, and encrypted copies for elsewhere."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from toolkit.checks import CheckResult, Outcome, overall
from toolkit.cli.options import REPORTS, Json, answer, examples, print_json
from toolkit.clock import iso, utc_now
from toolkit.errors import BackupError, ToolkitError, UnverifiedError, UsageError
from toolkit.redaction import keep_secret

if TYPE_CHECKING:
    from toolkit.progress import Advance
    from toolkit.rollback.backup.keeping import Decision, Kept

app = typer.Typer(help="Look at, verify, prune and encrypt backups.", no_args_is_help=True)

Folders = Annotated[list[Path] | None, typer.Argument(help="Where to look, with all that is below.")]
Folder = Annotated[Path, typer.Argument(help="One backup's folder.")]
_MARKS = {Outcome.PASS: "[green]✓[/green]", Outcome.FAIL: "[red]✗[/red]", Outcome.UNKNOWN: "[yellow]?[/yellow]"}


@app.command(name="list", epilog=examples("toolkit backup list", "toolkit backup list /backups --json"))
def list_backups(folders: Folders = None, json: Json = False) -> None:
    """Every backup: age, size, target, server, migration version, and how far it was verified. No data is read."""
    from toolkit.rollback.backup.keeping import find_backups

    backups, problems = find_backups(folders or [REPORTS])
    if json:
        print_json({"backups": [_told(each) for each in backups], "problems": problems})
        return
    table = Table("folder", "age", "size", "target", "server", "migration", "verified")
    for each in backups:
        table.add_row(*(escape(text) for text in _row(each)))
    if backups:
        Console().print(table)
    else:
        typer.echo("There is no backup.")
    for problem in problems:
        typer.echo(f"✗ {problem}", err=True)


@app.command(epilog=examples("toolkit backup verify FOLDER", "toolkit backup verify FOLDER --restore"))
def verify(
    folder: Folder,
    restore: Annotated[
        bool, typer.Option("--restore", help="Restore it on a scratch server and compare fingerprints too.")
    ] = False,
    json: Json = False,
) -> None:
    """Read all of a backup and hold it against its manifest; the result is kept beside it.

    With `--restore` it is also proved: restored into a database of our own, with every table's fingerprint as it was
    in the snapshot.
    """
    from toolkit.rollback.backup.inspection import NEEDED
    from toolkit.rollback.backup.proof import verify_backup

    with _progress(shown=not json) as advance:
        found = verify_backup(folder, restore=restore, advance=advance)
    results = [each for each in found.results if each.name in NEEDED or restore or each.outcome is Outcome.FAIL]
    if json:
        checks = [{"name": each.name, "outcome": each.outcome, "evidence": each.evidence} for each in found.results]
        told = {"folder": str(folder), "level": int(found.level), "verified": found.level.title, "checks": checks}
        answer(told, _not_passed(folder, results))
        return
    for each in found.results:
        Console().print(f"{_MARKS[each.outcome]} {escape(f'{each.name}: {each.evidence}')}")
    typer.echo(f"{folder}: {found.level.title}")
    if error := _not_passed(folder, results):
        raise error


@app.command(epilog=examples("toolkit backup prune /backups", "toolkit backup prune /backups --last 3 --execute"))
def prune(
    folders: Folders = None,
    last: Annotated[int, typer.Option(min=0, help="Keep so many of the newest.")] = 5,
    daily: Annotated[int, typer.Option(min=0, help="Keep the newest of so many days.")] = 7,
    weekly: Annotated[int, typer.Option(min=0, help="Keep the newest of so many weeks.")] = 4,
    execute: Annotated[bool, typer.Option("--execute", help="Remove them; without it nothing is removed.")] = False,
    json: Json = False,
) -> None:
    """Remove backups that no rule keeps, counted for each target and database.

    The newest verified one is never removed, nor one that an unresolved incident refers to.
    """
    from toolkit.rollback.backup.keeping import OpenIncidents, Policy, decide, find_backups, remove

    places = folders or [REPORTS]
    backups, problems = find_backups(places)
    decisions = decide(backups, Policy(last, daily, weekly), OpenIncidents(places, backups).refers_to)
    gone = remove(decisions) if execute else []
    if json:
        told = [{**_told(each.kept), "stays": each.stays, "reasons": each.reasons} for each in decisions]
        print_json({"backups": told, "removed": [str(path) for path in gone], "problems": problems})
        return
    _show_decisions(decisions)
    for problem in problems:
        typer.echo(f"✗ {problem}", err=True)
    going = [each for each in decisions if not each.stays]
    size = sum(each.kept.manifest.bytes for each in going) / 1e6
    if execute:
        typer.echo(f"{len(gone)} removed, {size:,.1f} MB.")
    else:
        typer.echo(f"{len(going)} would be removed, {size:,.1f} MB. Nothing was: repeat it with --execute.")


@app.command(
    epilog=examples(
        "toolkit backup encrypt FOLDER copy.age --recipient age1…",
        "toolkit backup encrypt FOLDER copy.age --passphrase-env BACKUP_PASSPHRASE",
    )
)
def encrypt(
    folder: Folder,
    file: Annotated[Path, typer.Argument(help="The encrypted copy, a new file.")],
    recipient: Annotated[
        list[str] | None, typer.Option(help="A public key: age1…, ssh-ed25519 …; again for another.")
    ] = None,
    passphrase_env: Annotated[str, typer.Option(help="The variable that holds a passphrase.")] = "",
    json: Json = False,
) -> None:
    """Make an encrypted copy (age's format) of a whole backup, for leaving this machine: it holds production data."""
    from toolkit.rollback.backup.encryption import Lock, encrypt_backup

    lock = Lock(tuple(recipient or ()), _secret(passphrase_env))
    with Console(stderr=True).status("Encrypting"):
        made = encrypt_backup(folder, file, lock)
    if json:
        print_json({"files": [str(path) for path in made], "bytes": file.stat().st_size})
        return
    for path in made:
        typer.echo(f"{path}: {path.stat().st_size / 1e6:,.1f} MB")
    if len(made) > 1:
        typer.echo("Both are needed to open it, and the passphrase.")


@app.command(
    epilog=examples(
        "toolkit backup decrypt copy.age FOLDER --identity key.txt",
        "toolkit backup decrypt copy.age FOLDER --passphrase-env BACKUP_PASSPHRASE",
    )
)
def decrypt(
    file: Annotated[Path, typer.Argument(help="The encrypted copy.")],
    folder: Annotated[Path, typer.Argument(help="The backup's folder, a new one.")],
    identity: Annotated[list[Path] | None, typer.Option(help="A file that holds a secret key of age's.")] = None,
    identity_env: Annotated[str, typer.Option(help="The variable that holds a secret key.")] = "",
    passphrase_env: Annotated[str, typer.Option(help="The variable that holds the passphrase.")] = "",
    json: Json = False,
) -> None:
    """Open an encrypted copy, read all of it, and leave a folder only when it is a whole backup."""
    from toolkit.rollback.backup.encryption import Key, decrypt_backup

    keys = [_read_key(path) for path in identity or ()] + ([_secret(identity_env)] if identity_env else [])
    with Console(stderr=True).status("Decrypting"):
        backup = decrypt_backup(file, folder, Key(tuple(keys), _secret(passphrase_env)))
    if json:
        print_json({"folder": str(backup.folder), "manifest_sha256": backup.manifest_sha256})
        return
    typer.echo(f"{backup.folder}: a whole backup of {backup.manifest.created_at:%Y-%m-%d %H:%M:%S} UTC")


def _told(kept: "Kept") -> dict[str, Any]:
    manifest, server = kept.manifest, kept.manifest.server
    return {
        "folder": str(kept.folder),
        "created_at": iso(kept.created_at),
        "age_s": round((utc_now() - kept.created_at).total_seconds()),
        "bytes": manifest.bytes,
        "target": manifest.target,
        "server": f"{server.host}:{server.port}/{server.database}",
        "postgresql": server.version,
        "incident": manifest.incident,
        "migration": kept.version,
        "level": int(kept.level),
        "verified": kept.level.title,
        "verified_at": iso(kept.verified.at) if kept.verified else None,
        "damage": kept.damage or None,
    }


def _row(kept: "Kept") -> list[str]:
    server = kept.manifest.server
    when = f", {_age(kept.verified.at)} ago" if kept.verified and kept.level else ""
    return [
        _short_path(kept.folder),
        _age(kept.created_at),
        f"{kept.manifest.bytes / 1e6:,.1f} MB",
        kept.manifest.target,
        f"{server.host}:{server.port}/{server.database}",
        "unknown" if kept.version is None else str(kept.version),
        f"damaged: {kept.damage}" if kept.damage else f"{kept.level.title}{when}",
    ]


def _short_path(folder: Path) -> str:
    here = Path.cwd()
    return str(folder.relative_to(here)) if folder.is_relative_to(here) else str(folder)


def _age(moment: datetime) -> str:
    seconds = max(0.0, (utc_now() - moment).total_seconds())
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _show_decisions(decisions: "list[Decision]") -> None:
    table = Table("folder", "age", "verified", "", "why")
    for each in decisions:
        verdict = "stays" if each.stays else "goes"
        why = "; ".join(each.reasons) or "no rule keeps it"
        row = (_short_path(each.kept.folder), _age(each.kept.created_at), each.kept.level.title, verdict, why)
        table.add_row(*(escape(text) for text in row))
    if decisions:
        Console().print(table)


def _not_passed(folder: Path, results: list[CheckResult]) -> ToolkitError | None:
    outcome = overall(results)
    told = "; ".join(f"{each.name}: {each.evidence}" for each in results if each.outcome is not Outcome.PASS)
    if outcome is Outcome.FAIL:
        return BackupError(f"{folder} is not good: {told}", next="use another: toolkit backup list")
    if outcome is Outcome.UNKNOWN:
        return UnverifiedError(f"{folder} could not be proved: {told}", next="put that right, then verify it again")
    return None


def _secret(variable: str, environ: Mapping[str, str] | None = None) -> str:
    """The value of a variable that is named on the command line; '' when none is named."""
    if not variable:
        return ""
    value = (os.environ if environ is None else environ).get(variable, "")
    if not value:
        raise UsageError(f"{variable} is not set", state="nothing was done", next="export it, then repeat the command")
    keep_secret(value)
    return value


def _read_key(path: Path) -> str:
    text = path.read_text()
    for line in text.splitlines():
        if not line.startswith("#"):
            keep_secret(line.strip())
    return text


@contextmanager
def _progress(*, shown: bool) -> "Iterator[Advance]":
    """A bar for each thing that is done, with the time that it will still take."""
    parts = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*parts, console=Console(stderr=True), transient=True, disable=not shown) as progress:
        tasks = {}

        def advance(what: str, done: float, of: float | None) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=of)
            progress.update(tasks[what], completed=done, total=of)

        yield advance
