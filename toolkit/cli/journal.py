"""`toolkit journal`: prove that the evidence is whole."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli.options import Json, answer, examples
from toolkit.errors import JournalError, UsageError

if TYPE_CHECKING:
    from toolkit.journal import Head, Inspection

app = typer.Typer(help="Look into journals.", no_args_is_help=True)


@app.command(
    epilog=examples("toolkit journal verify reports/drills/…", "toolkit journal verify DIR --target production")
)
def verify(
    folder: Annotated[Path, typer.Argument(help="An incident's or a drill's folder.")],
    target: Annotated[str, typer.Option(help="Hold the tail against what this target keeps.")] = "",
    playbook: Annotated[str, typer.Option(help="The playbook that names the target.")] = "",
    json: Json = False,
) -> None:
    """Find a changed, missing or torn line, and a lost tail, in every journal of a folder.

    A lost tail shows only against a head kept elsewhere: on the target, or in a drill's score.
    """
    from toolkit.journal import inspect

    heads = _kept_heads(folder, target, playbook)
    names = sorted({path.name for path in folder.glob("*.jsonl")} | set(heads))
    if not names:
        raise UsageError(f"{folder} holds no journal", next="name an incident's or a drill's folder")
    found = {name: inspect(folder / name, heads.get(name)) for name in names}
    broken = [name for name, seen in found.items() if seen.problems]
    error = None
    if broken:
        what = f"{', '.join(broken)} in {folder}: the evidence is not whole"
        error = JournalError(what, next="keep the folder as it is")
    if json:
        answer({name: _told(seen) for name, seen in found.items()}, error)
        return
    for name, seen in found.items():
        typer.echo(f"{name}: {seen.entries} entries, {_tail(seen)}")
        for problem in seen.problems:
            typer.echo(f"  ✗ {problem}")
    if error:
        raise error


def _told(seen: "Inspection") -> dict[str, object]:
    return {"entries": seen.entries, "problems": list(seen.problems), "tail": _tail(seen)}


def _tail(seen: "Inspection") -> str:
    if seen.checked_up_to is None:
        return "tail not checked: no head is kept elsewhere"
    return f"checked against a head kept elsewhere up to entry {seen.checked_up_to}"


def _kept_heads(folder: Path, target: str, playbook: str) -> "dict[str, Head]":
    """How far each journal had come, by file name, as a drill's score or the target says."""
    import json

    from toolkit.incident import FACILITATOR_FILE, JOURNAL_FILE
    from toolkit.journal import Head

    heads = {}
    if (score := folder / "score.json").exists():
        try:
            told = json.loads(score.read_text())
            for name, key in ((JOURNAL_FILE, "journal_head"), (FACILITATOR_FILE, "facilitator_head")):
                if told.get(key):
                    heads[name] = Head(int(told[key]["seq"]), str(told[key]["hash"]))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise JournalError(f"{score} is damaged: it names no head", next="keep the folder as it is") from None
    if target:
        from toolkit.adapters.postgres import Database
        from toolkit.playbook import load_playbook

        resolved = load_playbook(playbook or None).target(target)
        kept = Database(resolved.database_url, target=resolved.name).kept_head(folder.resolve().name)
        heads |= {JOURNAL_FILE: kept} if kept else {}
    return heads
