"""`toolkit gameday`: something breaks at a moment that nobody knows; people find it and mend it, against the clock."""

import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from toolkit.cli.options import REPORTS, Json, SandboxName, examples, print_json
from toolkit.errors import UsageError
from toolkit.places import DEFAULT_SANDBOX

if TYPE_CHECKING:
    from toolkit.drill.gameday.current import Standing
    from toolkit.drill.gameday.place import GameDayState

app = typer.Typer(help="Play: something breaks, and you work against the clock.", no_args_is_help=True)

By = Annotated[str, typer.Option("--by", help="Who asks, as a role. It is journaled.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask first.")]


@app.command(
    epilog=examples(
        "toolkit gameday start",
        "toolkit gameday start --difficulty hard",
        "toolkit gameday start --scenario lock-queue --hidden --within 30-300 --injects 1",
    )
)
def start(
    difficulty: Annotated[str, typer.Option(help="easy, medium or hard: what is drawn from, what is told.")] = "medium",
    scenario: Annotated[str, typer.Option(help="A name from `toolkit drill list`; without it one is drawn.")] = "",
    hidden: Annotated[
        bool | None, typer.Option("--hidden/--shown", help="Whether nothing is told of what breaks. As the difficulty.")
    ] = None,
    injects: Annotated[int | None, typer.Option(help="Further faults while you work. As the difficulty.")] = None,
    within: Annotated[
        str, typer.Option(metavar="MIN-MAX", help="Seconds from the steady state until it breaks. As the difficulty.")
    ] = "",
    seed: Annotated[int | None, typer.Option(help="Decides what, when, data and traffic; without it, chance.")] = None,
    out: Annotated[Path | None, typer.Option(help="The folder to leave behind; it must not exist.")] = None,
    operator: Annotated[str, typer.Option("--operator", help="Your role, as the notebooks journal it.")] = "responder",
    name: SandboxName = DEFAULT_SANDBOX,
    json: Json = False,
) -> None:
    """Start a game day. It goes on when this terminal closes; what breaks, and when, is not said."""
    from toolkit.drill.gameday.launching import launch
    from toolkit.drill.gameday.levels import Difficulty
    from toolkit.drill.gameday.planning import Wish, draw, gameday_folder
    from toolkit.drill.state import LARGEST_SEED

    if difficulty not in list(Difficulty):
        raise _wrong(f"{difficulty!r} is no difficulty", f"use {', '.join(Difficulty)}")
    wish = Wish(
        difficulty=Difficulty(difficulty),
        scenario=scenario,
        hidden=hidden,
        injects=injects,
        within_s=_span(within) if within else None,
        seed=secrets.randbelow(LARGEST_SEED) if seed is None else seed,
        sandbox=name,
    )
    plan = draw(wish, (out or gameday_folder(REPORTS)).resolve())
    console = Console(stderr=True)
    with console.status("Starting") as status:
        state = launch(plan, operator, lambda part: status.update(f"Starting: {part}"))
    if json:
        print_json(_told_state(state))
    else:
        _tell_started(state)


def _span(text: str) -> tuple[float, float]:
    first, dash, last = text.partition("-")
    try:
        return float(first), float(last if dash else first)
    except ValueError:
        raise _wrong(f"{text!r} is no span of time", "give seconds as MIN-MAX: --within 30-300") from None


def _wrong(what: str, use: str) -> UsageError:
    return UsageError(what, state="nothing was done", next=use)


def _told_state(state: "GameDayState") -> dict[str, object]:
    """As an answer: without the way to the director."""
    shown = {"folder", "sandbox", "sheets", "since", "difficulty", "hidden", "told", "hints", "hints_cost_s"}
    return state.model_dump(mode="json", include=shown | {"answer_seen", "trouble", "ended"})


def _tell_started(state: "GameDayState") -> None:
    from toolkit.drill.gameday.sheets import FOLDER, HEAD

    console = Console()
    told = "\n".join(f"{what}: {text}" for what, text in state.told.items())
    head = state.sheets.relative_to(FOLDER.parent) / f"{HEAD}.ipynb" if state.sheets else f"{HEAD}.ipynb"
    elsewhere = f"TOOLKIT_SANDBOX={state.sandbox} " if state.sandbox != DEFAULT_SANDBOX else ""
    console.print(
        f"The game day runs, and all is well. Something will break.\n{told + chr(10) if told else ''}\n"
        f"Work:   {elsewhere}make lab, then open {head}\n"
        f"Look:   toolkit gameday status\n"
        f"Help:   toolkit gameday hint\n"
        f"End:    toolkit gameday finish\n"
        f"Stop:   toolkit gameday abort\n\nThe incident's folder is\n{state.folder}",
        highlight=False,
        soft_wrap=True,
    )


@app.command(epilog=examples("toolkit gameday status", "toolkit gameday status --json"))
def status(json: Json = False) -> None:
    """How the game day stands: the incident's clock, what the senders meet, what to do next. No answer in it."""
    from toolkit.drill.gameday.current import look
    from toolkit.drill.gameday.steps import steps
    from toolkit.drill.lever import held

    standing, lever = look(), held()
    every = steps(standing.incident.journal.entries(), ended=standing.state.ended)
    if json:
        print_json(
            {"phase": standing.phase, "incident": standing.incident.state, "severity": standing.incident.severity}
            | {"running_s": standing.running_s, "incident_s": standing.incident_s}
            | {"requests": standing.rates.requests, "error_rate": standing.rates.error_rate}
            | {"next": next((each.what for each in every if not each.done), None)}
            | {"faults_held_by": lever.by if lever else None}
            | _told_state(standing.state)
        )
        return
    table = Table(show_header=False)
    for name, value in standing.figures().items():
        table.add_row(name, value)
    Console().print(table)
    for each in every:
        typer.echo(f"{'✓' if each.done else '·'} {each.what.replace('`', '')}  {each.notebook}".rstrip())
    typer.echo(_advice(standing))
    if lever:
        typer.echo(f"The lever is held by {lever.by}: no fault is put in. toolkit gameday release")


def _advice(standing: "Standing") -> str:
    if standing.phase == "died":
        return "Its director ended by itself. What can be told is written by: toolkit gameday finish"
    trouble = f"Trouble: {standing.state.trouble}\n" if standing.state.trouble else ""
    return f"{trouble}Evidence: {standing.state.folder}"


@app.command(epilog=examples("toolkit gameday hint"))
def hint(by: By = "responder", json: Json = False) -> None:
    """The next hint, nearer to the answer than the one before. What it costs is told apart in the score."""
    from toolkit.drill.gameday import current

    given = current.hint(by)
    if json:
        print_json(given)
        return
    typer.echo(f"Hint {given['hints']}, at {given['cost_s']:g} s ({given['left']} left): {given['hint']}")


@app.command(epilog=examples("toolkit gameday answer", "toolkit gameday answer --yes --json"))
def answer(yes: Yes = False, by: By = "facilitator", json: Json = False) -> None:
    """For the facilitator: what is right, what is wrong, and what it teaches. Asks first; the score tells of it."""
    from toolkit.drill.gameday import current

    current.playing()
    _sure("A look at the answer is journaled, and in the score", "Look?", yes)
    told = current.answer(by)
    if json:
        print_json(told)
        return
    console = Console()
    for title, said in told["faults"].items():
        console.print(f"[b]{title}[/b]\n{said['story']}\n\nIt teaches: {said['teaches']}\n", highlight=False)
    table = Table(*told["answers"][0])
    for row in told["answers"]:
        table.add_row(*row.values())
    console.print(table)


@app.command(epilog=examples("toolkit gameday inject", "toolkit gameday inject bad-deployment"))
def inject(
    scenario: Annotated[str, typer.Argument(help="A name from `toolkit drill list`; without it one that fits.")] = "",
    json: Json = False,
) -> None:
    """For the facilitator: put in a further fault now. Says why where it cannot come on top of what is broken."""
    from toolkit.drill.gameday import current
    from toolkit.drill.scenario import load_scenario

    if scenario:
        load_scenario(scenario)
    done = current.inject(scenario)
    if json:
        print_json(done)
    else:
        typer.echo("Done. The senders meet it from now on.")


@app.command(epilog=examples('toolkit gameday mend "End the report that holds the lock"'))
def mend(
    why: Annotated[str, typer.Argument(help="What is to be put right by hand, in a sentence. It is journaled.")],
    by: By = "responder",
    json: Json = False,
) -> None:
    """Call whoever puts right by hand what no rollback mends: the database's host, who left a session open."""
    from toolkit.drill.gameday import current

    done = current.mend(by, why)
    if json:
        print_json(done)
    else:
        typer.echo("Done by hand: " + "; ".join(done["done"]))


@app.command(epilog=examples("toolkit gameday finish", "toolkit gameday finish --yes --json"))
def finish(yes: Yes = False, by: By = "responder", json: Json = False) -> None:
    """End it: settle the traffic, account for every event, write score and post-mortem. Exit code as of a drill."""
    from toolkit.cli.drill_display import summary
    from toolkit.drill.gameday import current
    from toolkit.incident import State

    if current.look().incident.state is not State.RESOLVED and not current.latest().ended:
        _sure("The incident is not resolved", "End the game day all the same?", yes)
    score, folder = current.finish(by)
    if json:
        print_json(score.model_dump(mode="json") | {"folder": str(folder)})
    else:
        summary(score, folder, Console())
    raise typer.Exit(score.exit_code)


@app.command(epilog=examples("toolkit gameday abort", 'toolkit gameday abort --reason "Production has an incident"'))
def abort(
    reason: Annotated[str, typer.Option(help="Why, in a sentence.")] = "the lever was pulled",
    by: By = "facilitator",
    json: Json = False,
) -> None:
    """The lever: stop traffic, faults and director now, keep the evidence, refuse any fault until it is released."""
    from toolkit.drill.gameday import current

    held, folder = current.abort(by, reason)
    if json:
        print_json({"held_by": held.by, "since": held.at, "folder": str(folder) if folder else None})
        return
    ended = f"The game day was stopped; its evidence is in\n{folder}" if folder else "No game day was running."
    typer.echo(f"{ended}\nNo fault is put in on this machine until: toolkit gameday release")


@app.command(epilog=examples("toolkit gameday release"))
def release(json: Json = False) -> None:
    """Let go of the lever: faults may be put in again."""
    from toolkit.drill.lever import release as let_go

    before = let_go()
    if json:
        print_json({"was_held_by": before.by if before else None})
        return
    typer.echo(f"Released; {before.by} had held it ({before.why})." if before else "Nobody held it.")


def _sure(fact: str, question: str, yes: bool) -> None:
    """Ask, at a terminal. UsageError where nobody can answer."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise _wrong(fact, "if you mean it: --yes")
    typer.confirm(f"{fact}. {question}", abort=True, err=True)
