"""`toolkit drill`: list what can break, and run it: fault, detection, notebooks, score, report."""

import signal
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from toolkit.cli import due
from toolkit.cli.options import REPORTS, DatabaseUrlEnv, Json, Seed, examples, print_json
from toolkit.lifeline import tie

ENDED_WITHIN_S = 90.0  # for the sandbox to be stopped and the evidence to be written

app = typer.Typer(help="Practise: break a sandbox and roll it back.", no_args_is_help=True)
app.command(name="due", epilog=due.EXAMPLES)(due.due)


@app.command(name="list", epilog=examples("toolkit drill list", "toolkit drill list --json"))
def list_(json: Json = False) -> None:
    """List the scenarios with type, severity and how long they take."""
    from toolkit.drill.scenario import load_scenario, scenario_names

    scenarios = [load_scenario(name) for name in scenario_names()]
    if json:
        print_json({"scenarios": [scenario.model_dump(mode="json") for scenario in scenarios]})
        return
    table = Table(Column("scenario", no_wrap=True), "what breaks", "answer", "severity", "takes")
    for each in scenarios:
        table.add_row(each.name, each.title, each.rollback_type, each.severity, f"{each.takes_s:.0f} s")
    Console().print(table)


@app.command(epilog=examples("toolkit drill show lock-queue", "toolkit drill show gitlab-2017 --json"))
def show(
    scenario: Annotated[str, typer.Argument(help="A name from `toolkit drill list`.")], json: Json = False
) -> None:
    """Tell all of one scenario: its fault, the answer key, what it teaches. Not before you play it."""
    from toolkit.drill.scenario import load_scenario

    chosen = load_scenario(scenario)
    if json:
        print_json(chosen.model_dump(mode="json"))
        return
    console = Console()
    console.print(
        f"[b]{chosen.title}[/b]  ({chosen.severity}, first seen as {chosen.signal})\n\n{_flowing(chosen.story)}\n"
    )
    table = Table("answer", "by the key", "what", "what comes of it")
    for verdict, answers in (("right", chosen.right_answers), ("wrong", chosen.wrong_answers)):
        for each in answers:
            table.add_row(each.rollback, verdict, each.what, each.comes_of_it)
    console.print(table)
    console.print(f"\n{_flowing(chosen.teaches)}")
    for source in chosen.sources:
        console.print(f"Source: {source}", soft_wrap=True)


def _flowing(text: str) -> str:
    """Without its own ends of lines."""
    return " ".join(text.split())


@app.command(
    epilog=examples("toolkit drill regret breaking-migration", "toolkit drill regret lock-queue --seed 3 --json")
)
def regret(
    scenario: Annotated[str, typer.Argument(help="A name from `toolkit drill list`.")],
    seed: Seed = 1,
    out: Annotated[Path | None, typer.Option(help="The folder to leave behind; it must not exist.")] = None,
    json: Json = False,
) -> None:
    """Answer the same fault in every way, on copies, and compare: seconds until all is well, rows that are wrong.

    A minute for each way. Exit code 0 when the right answer of the key is no worse than the best in rows.
    """
    from dataclasses import asdict

    from toolkit.drill.line import drill_folder
    from toolkit.drill.regret import best, play, require_new
    from toolkit.drill.regret import regret as regret_of
    from toolkit.drill.scenario import load_scenario

    chosen = load_scenario(scenario)
    folder = out or drill_folder(REPORTS, f"regret-{scenario}", seed)
    require_new(folder)
    console = Console(stderr=True)
    outcomes = play(chosen, seed, folder, listen=lambda each: console.print(" · ".join(map(str, each.row().values()))))
    right = next(each for each in outcomes if each.answer == chosen.right_answers[0].rollback)
    known, apart = best(outcomes), regret_of(right, outcomes)
    if json:
        print_json(
            {"scenario": scenario, "seed": seed, "folder": str(folder), "best": known.answer if known else None}
            | {"regret_of_the_right_answer": apart, "answers": [asdict(each) for each in outcomes]}
        )
    else:
        table = Table(*outcomes[0].row())
        for each in outcomes:
            table.add_row(*(str(value) for value in each.row().values()))
        Console().print(table)
        typer.echo(f"Best in hindsight: {known.answer if known else 'none of them healed it'}. Evidence: {folder}")
    raise typer.Exit(0 if apart and apart["rows"] == 0 else 1)


@app.command(
    epilog=examples(
        "toolkit drill run breaking-migration",
        "toolkit drill run breaking-migration --seed 7 --out /tmp/drill --json",
        "toolkit drill run breaking-migration --keep",
        "toolkit drill run breaking-migration --answer application",
    )
)
def run(
    scenario: Annotated[str, typer.Argument(help="A name from `toolkit drill list`.")],
    seed: Seed = 1,
    out: Annotated[Path | None, typer.Option(help="The folder to leave behind; it must not exist.")] = None,
    keep: Annotated[bool, typer.Option(help="Leave the sandbox running, to look around in it.")] = False,
    answer: Annotated[
        str, typer.Option(help="Answer with this kind instead of the right one, to see what comes of it.")
    ] = "",
    database_url_env: DatabaseUrlEnv = "",
    json: Json = False,
) -> None:
    """Run one drill from fault to post-mortem.

    Exit code 0 only when the incident was mitigated, all verified, and nothing lost.
    """
    from toolkit.drill.scenario import load_scenario
    from toolkit.errors import UsageError

    chosen = load_scenario(scenario)
    from toolkit.cli.drill_display import follow, summary
    from toolkit.drill.line import Drill, drill_folder

    folder = out or drill_folder(REPORTS, scenario, seed)
    if folder.exists():
        raise UsageError(f"{folder} exists already", state="nothing was done", next="name another with --out")
    console = Console(stderr=True) if json else Console()
    drill = Drill(chosen, seed, folder, keep=keep, database_url_env=database_url_env, answer=answer)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    tie(grace_s=ENDED_WITHIN_S)  # as one of a campaign it ends with that
    try:
        with follow(drill, console):
            score = drill.run()
    except KeyboardInterrupt:
        said = f"Interrupted. The sandbox was ended; the evidence so far is in {folder}"
        console.print(said, highlight=False, soft_wrap=True)
        if json:
            print_json({"error": said, "folder": str(folder)})
        raise typer.Exit(130) from None
    kept = drill.sandbox.state.name if keep and drill.sandbox is not None else None
    if json:
        print_json(score.model_dump(mode="json") | {"folder": str(folder), "sandbox": kept})
    else:
        summary(score, folder, console)
        if kept:
            console.print(f"The sandbox still runs: toolkit sandbox stop --name {kept}")
    raise typer.Exit(score.exit_code)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """A drill that is told to end ends in order, as at Ctrl-C."""
    raise KeyboardInterrupt
