"""What `emergency-rollback` does with its words: plan, show, back up, rehearse, carry out, look whether it helped.

It decides nothing that a notebook could not: the same functions run in `02_stabilize` and `03_rollback`.
"""

import contextlib
import shlex
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console

from toolkit.cli.blocking_items import answer_items
from toolkit.cli.options import REPORTS, print_json
from toolkit.cli.restore_words import AS_PROPOSED, Restoring
from toolkit.cli.rollback_display import Progress, show_rows
from toolkit.clock import utc_now

if TYPE_CHECKING:
    from toolkit.adapters.systems import Systems
    from toolkit.checks import CheckResult
    from toolkit.incident import Incident
    from toolkit.rollback.plan import Plan
    from toolkit.rollback.rehearsal import Rehearsal
    from toolkit.rollback.runner import RunResult


@dataclass(frozen=True)
class Asked:
    """The words that all actions share."""

    target: str = ""
    database_url_env: str = ""
    playbook: str = ""
    incident: Path | None = None
    operator: str = "responder"
    execute: bool = False
    confirm: str = ""
    no_rehearsal: str = ""
    rehearsal_budget_s: float = 300.0
    take_over: str = ""
    end_blockers: bool = False
    override: str = ""
    json: bool = False

    @property
    def console(self) -> Console:
        """Where people read; with --json not standard output, which is the answer's."""
        return Console(stderr=self.json)


def show_status(asked: Asked) -> None:
    """How the target stands. Exit code 0 when all is well, 3 when something is not, or is not known."""
    from toolkit.assess.standing import standing
    from toolkit.checks import Outcome, overall

    found = standing(_systems(asked))
    if asked.json:
        print_json({"target": found.target, "checks": [vars(each) for each in found.results]})
    else:
        show_rows(asked.console, found.target, found.rows())
        typer.echo("Nothing was changed.")
    raise typer.Exit(0 if overall(found.results) is Outcome.PASS else 3)


def back_up_only(asked: Asked) -> None:
    """The emergency backup, and nothing else. Exit code 3 when it can be used, but is not complete."""
    from toolkit.rollback.backup import emergency_backup

    systems = _systems(asked)
    with _incident(asked, systems) as incident:
        if asked.execute:
            _open(asked, incident, "an emergency backup was asked for")
        backup = emergency_backup(systems, incident, actor=asked.operator)
        with Progress(asked.console) as progress:
            made = backup.make(execute=asked.execute, advance=progress)
        conditions = backup.preconditions() if not asked.execute else []
        if asked.json:
            command = None if asked.execute else _command(asked, systems, {"--backup-only": True})
            told = {"executed": asked.execute, "folder": str(backup.folder), "verdict": made.verdict}
            print_json(told | {"command": command})
        else:
            show_rows(asked.console, "before the backup", [vars(each) for each in conditions])
            show_rows(asked.console, "backup", made.rows())
            typer.echo(made.verdict)
        if not asked.execute:
            if not asked.json:
                _say_how(asked, systems, "--backup-only")
            return
    raise typer.Exit(0 if made.whole else 3 if made.usable else 1)


def roll_back(asked: Asked, restoring: Restoring = AS_PROPOSED, **wish: Any) -> None:
    """Plan it, show it, and with --execute do it. Exit code 3 when it was done and did not visibly help."""
    from toolkit.rollback import rollback_plan

    systems = _systems(asked, database_only="migration_target" in wish or "backup_restore" in wish)
    with _incident(asked, systems) as incident:
        with Progress(asked.console) as progress:
            plan = rollback_plan(systems, incident, restore=restoring.wish(), advance=progress, **wish)
        _show_plan(asked, plan)
        if not asked.execute:
            _write_damage(asked, plan, restoring)
            _answer_dry(asked, plan, systems, incident, {**wish, **restoring.words()})
            return
        _confirm(asked, plan, systems)
        _open(asked, incident, "a rollback was asked for by hand")
        answer_items(incident, systems.playbook, plan, asked.override, operator=asked.operator)
        rehearsal = _prepare(asked, plan, systems, incident)
        _carry_out(asked, plan, systems, incident, rehearsal)


def resume_rollback(asked: Asked) -> None:
    """Go on with what was begun."""
    from toolkit.rollback.resuming import plan_begun

    systems = _systems(asked)
    with _incident_begun(asked, systems) as incident:
        plan = plan_begun(systems, incident)
        _show_plan(asked, plan)
        if not asked.execute:
            _say_how(asked, systems, "--resume")
            return
        _confirm(asked, plan, systems)
        _carry_out(asked, plan, systems, incident, None, resumed=True)


def abort_rollback(asked: Asked) -> None:
    """Give up what was begun, and lift the freeze. Exit code 3 when something could not be undone."""
    from toolkit.rollback.resuming import abort, plan_begun

    systems = _systems(asked)
    with _incident_begun(asked, systems) as incident:
        plan = plan_begun(systems, incident)
        _show_plan(asked, plan)
        if not asked.execute:
            _say_how(asked, systems, "--abort")
            return
        _confirm(asked, plan, systems)
        with Progress(asked.console) as progress:
            ended = abort(
                plan,
                systems,
                incident,
                actor=asked.operator,
                confirm=_confirmation(asked, plan, systems),
                manner=_manner(asked, progress),
            )
        if asked.json:
            print_json({"aborted": plan.id, "whole": ended.whole, "steps": [vars(each) for each in ended.steps]})
        else:
            show_rows(asked.console, "given up", ended.rows())
        raise typer.Exit(0 if ended.whole else 3)


def _systems(asked: Asked, *, database_only: bool = True) -> "Systems":
    """`database_only`: a token or a URL that is not set keeps nobody from the database; what needs it says so."""
    from toolkit.adapters.systems import connect
    from toolkit.playbook import load_playbook

    book = load_playbook(asked.playbook or None)
    return connect(
        book,
        book.target(asked.target or None, database_url_env=asked.database_url_env, database_only=database_only),
    )


@contextlib.contextmanager
def _incident(asked: Asked, systems: "Systems") -> Iterator["Incident"]:
    """The named incident; with --execute a new one where none is named, not made before `_open`; for a dry run one that
    leaves nothing."""
    from toolkit.incident import Incident

    if asked.incident is not None:
        incident = Incident.at(asked.incident)
        incident.journal.entries()
        yield incident
    elif asked.execute:
        name = f"{utc_now():%Y%m%dT%H%M%SZ}-{systems.playbook.service.name}"
        yield Incident(REPORTS / "incidents" / name)
    else:
        with tempfile.TemporaryDirectory() as folder:
            yield Incident(Path(folder) / "dry-run")


def _open(asked: Asked, incident: "Incident", why: str) -> None:
    """Make and open a new incident, once something is to be done: a plan that is refused leaves none behind."""
    from toolkit.incident import State
    from toolkit.playbook import Severity

    if asked.incident is not None:
        return
    incident.folder.mkdir(parents=True)
    incident.open(Severity.P1, [why], actor=asked.operator)
    incident.advance(State.ACKNOWLEDGED, why, actor=asked.operator)
    asked.console.print(f"Incident: {incident.folder.resolve()}", highlight=False, soft_wrap=True)


@contextlib.contextmanager
def _incident_begun(asked: Asked, systems: "Systems") -> Iterator["Incident"]:
    """The named incident; where none is named, the one under which the target says that a rollback was begun."""
    from toolkit.rollback.resuming import incident_begun

    if asked.incident is not None:
        with _incident(asked, systems) as incident:
            yield incident
        return
    incident = incident_begun(systems, REPORTS / "incidents", actor=asked.operator, execute=asked.execute)
    if asked.execute:
        asked.console.print(f"Incident: {incident.folder.resolve()}", highlight=False, soft_wrap=True)
    yield incident


def _show_plan(asked: Asked, plan: "Plan") -> None:
    if asked.json:
        return
    from rich.markdown import Markdown

    asked.console.print(Markdown(plan.heading()))
    show_rows(asked.console, "", plan.rows())


def _write_damage(asked: Asked, plan: "Plan", restoring: Restoring) -> None:
    from toolkit.rollback.restore_file import write_restore_file

    if plan.restores is None or restoring.damage is None or restoring.damage.exists():
        return
    write_restore_file(restoring.damage, plan)
    asked.console.print(
        f"What is taken for damage, and what only looks like it, was written to {restoring.damage}. Correct it there.",
        highlight=False,
        soft_wrap=True,
    )


def _answer_dry(
    asked: Asked, plan: "Plan", systems: "Systems", incident: "Incident", wish: Mapping[str, object]
) -> None:
    from toolkit.rollback import carry_out
    from toolkit.rollback.gate import would_wait_for

    result = carry_out(plan, systems, incident, actor=asked.operator)
    waiting, command = would_wait_for(incident, systems.playbook, plan), _command(asked, systems, wish)
    if asked.json:
        steps = [{"step": each.step, "outcome": each.outcome, "evidence": each.evidence} for each in result.steps]
        told = {"executed": False, "plan": plan.to_json(), "steps": steps, "command": command}
        print_json(told | {"waits_for": [each.item.id for each in waiting]})
        return
    show_rows(asked.console, "how it stands", result.rows()[:-1])
    for each in waiting:
        typer.echo(f"It would wait for {each.item.id} of the checklist: {each.item.text}, or for --override REASON")
    typer.echo(f"Nothing was done: this is the plan only. To carry it out:\n  {command}")


def _say_how(asked: Asked, systems: "Systems", action: str) -> None:
    command = _command(asked, systems, {action: True})
    if asked.json:
        print_json({"executed": False, "command": command})
    else:
        typer.echo(f"Nothing was done. To do it:\n  {command}")


_OPTION_OF = {
    "migration_target": "--migration-target",
    "backup_restore": "--backup-restore",
    "deployment": "--deployment",
    "rows_stay": "--rows-stay",
}


def _command(asked: Asked, systems: "Systems", wish: Mapping[str, object]) -> str:
    """What would do it, to be copied: all that was said, and the target by its name wherever that came from."""
    words = ["emergency-rollback"]
    for name, value in wish.items():
        if not value:
            continue
        if name == "migration_target" and value == "last-stable":
            words.append("--last-stable")
        elif name == "full_emergency":
            words.append("--full-emergency")
        elif name == "deployment" and "migration_target" not in wish and "full_emergency" not in wish:
            words.append("--app-rollback" if value == "previous" else f"--app-rollback={value}")
        elif name.startswith("--"):
            words.append(name if value is True else f"{name}={value}")
        else:
            words.append(f"{_OPTION_OF.get(name, f'--{name}')}={value}")
    for option, text in (
        ("--target", systems.target.name),
        ("--database-url-env", asked.database_url_env),
        ("--playbook", asked.playbook),
        ("--incident", str(asked.incident) if asked.incident else ""),
    ):
        words += [option, text] if text else []
    words += _manner_words(asked)
    if systems.target.production:
        words += ["--confirm", systems.playbook.service.name]
    return shlex.join([*words, "--execute"])


def _manner_words(asked: Asked) -> list[str]:
    """The options that say how, where they are not as without them."""
    usual = Asked()
    said = {
        "--operator": asked.operator if asked.operator != usual.operator else "",
        "--no-rehearsal": asked.no_rehearsal,
        "--take-over": asked.take_over,
        "--override": asked.override,
    }
    words = [word for option, text in said.items() if text for word in (option, text)]
    if asked.rehearsal_budget_s != usual.rehearsal_budget_s:
        words += ["--rehearsal-budget", f"{asked.rehearsal_budget_s:g}"]
    return [*words, *(["--end-blockers"] if asked.end_blockers else [])]


def _confirm(asked: Asked, plan: "Plan", systems: "Systems") -> None:
    """At a terminal production asks for the service's name; elsewhere --confirm must say it."""
    from toolkit.rollback.runner import require_meant

    require_meant(plan, systems, _confirmation(asked, plan, systems), execute=True)


_typed: dict[str, str] = {}


def _confirmation(asked: Asked, plan: "Plan", systems: "Systems") -> str | None:
    import sys

    if asked.confirm or not systems.target.production:
        return asked.confirm or None
    if plan.id not in _typed and sys.stdin.isatty():
        _typed[plan.id] = typer.prompt(
            f"This is production. Type the service's name ({plan.service}) to go on", err=True
        )
    return _typed.get(plan.id)


def _prepare(asked: Asked, plan: "Plan", systems: "Systems", incident: "Incident") -> "Rehearsal | None":
    """The emergency backup, then the rehearsal on it, where the plan changes the database and makes neither itself."""
    from toolkit.rollback.backup import emergency_backup
    from toolkit.rollback.rehearsal import rehearses_on_the_way

    if not plan.changes_database or rehearses_on_the_way(plan):
        return None
    with Progress(asked.console) as progress:
        made = emergency_backup(systems, incident, actor=asked.operator).make(execute=True, advance=progress)
    if not asked.json:
        show_rows(asked.console, "emergency backup", made.rows())
    if asked.no_rehearsal:
        return None
    with Progress(asked.console) as progress:
        return _rehearse(asked, plan, systems, incident, progress)


def _rehearse(asked: Asked, plan: "Plan", systems: "Systems", incident: "Incident", progress: Progress) -> "Rehearsal":
    from toolkit.rollback.rehearsal import rehearse

    rehearsal = rehearse(
        plan, systems, incident, actor=asked.operator, budget_s=asked.rehearsal_budget_s, advance=progress
    )
    _show_rehearsal(asked, rehearsal)
    return rehearsal


def _show_rehearsal(asked: Asked, rehearsal: "Rehearsal") -> None:
    if not asked.json:
        show_rows(asked.console, "rehearsal", rehearsal.rows())
        asked.console.print(rehearsal.verdict, highlight=False)


def _carry_out(
    asked: Asked,
    plan: "Plan",
    systems: "Systems",
    incident: "Incident",
    rehearsal: "Rehearsal | None",
    *,
    resumed: bool = False,
) -> None:
    from toolkit.checks import Outcome, overall
    from toolkit.rollback import aftermath, recovery
    from toolkit.rollback.rehearsed_run import run_rehearsed

    made = [rehearsal] if rehearsal else []

    def heard(on_the_way: "Rehearsal") -> None:
        made.append(on_the_way)
        _show_rehearsal(asked, on_the_way)

    with Progress(asked.console) as progress:
        result = run_rehearsed(
            plan,
            systems,
            incident,
            actor=asked.operator,
            execute=True,
            confirm=_confirmation(asked, plan, systems),
            no_rehearsal=asked.no_rehearsal,
            resumed=resumed,
            manner=_manner(asked, progress),
            budget_s=asked.rehearsal_budget_s,
            listen=heard,
        )
        progress("looking whether it helped", 0, None)
        results = recovery(systems, incident, result, actor=asked.operator)
        progress("looking how it left the database", 0, None)
        left = aftermath(systems, incident, result, actor=asked.operator)
    _answer(asked, plan, result, made[-1] if made else None, results, left, incident)
    raise typer.Exit(0 if overall([*results, *left]) is Outcome.PASS else 3)


def _manner(asked: Asked, progress: Progress) -> Any:
    from toolkit.rollback.runner import Manner

    return Manner(take_over=asked.take_over, end_blockers=asked.end_blockers, override=asked.override, advance=progress)


def _answer(
    asked: Asked,
    plan: "Plan",
    result: "RunResult",
    rehearsal: "Rehearsal | None",
    results: "list[CheckResult]",
    left: "list[CheckResult]",
    incident: "Incident",
) -> None:
    if asked.json:
        print_json(
            {
                "executed": True,
                "plan": plan.id,
                "incident": str(incident.folder.resolve()),
                "steps": [vars(each) for each in result.steps],
                "rehearsal": rehearsal.to_json() if rehearsal else None,
                "recovery": [vars(each) for each in results],
                "database": [vars(each) for each in left],
                "seconds": result.seconds,
            }
        )
        return
    show_rows(asked.console, "done", result.rows())
    show_rows(asked.console, "did it help?", [vars(each) for each in results])
    show_rows(asked.console, "how did it leave the database?", [vars(each) for each in left])
    where = shlex.join(["--target", plan.target, "--incident", str(incident.folder.resolve())])
    typer.echo(f"Next: verify all of it: toolkit verify {where} (or 04_verify with that incident)")
