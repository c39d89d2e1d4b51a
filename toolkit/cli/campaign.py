"""`toolkit campaign`: many drills, side by side, that can be interrupted and gone on with."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from toolkit.cli.options import REPORTS, Json, examples, print_json
from toolkit.clock import utc_now

if TYPE_CHECKING:
    from toolkit.drill.campaign import Campaign
    from toolkit.drill.campaign import Progress as Ended

app = typer.Typer(help="Play many drills, and keep their results as one dataset.", no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(help="The campaign's folder.")]
Jobs = Annotated[int, typer.Option(min=1, help="How many at a time on this machine; each is busy on two processors.")]
Scheduler = Annotated[str, typer.Option(help="A Dask scheduler, tcp://host:port: its workers play. Extra `cluster`.")]
DEFAULT_JOBS = max(1, (os.cpu_count() or 2) // 2)


@app.command(
    epilog=examples(
        "toolkit campaign run --scenarios all --seeds 1",
        "toolkit campaign run --scenarios lock-queue,bad-deployment --seeds 3 --jobs 2",
        "toolkit campaign run --scenarios all --seeds 3 --scheduler tcp://10.0.0.5:8786",
    )
)
def run(
    scenarios: Annotated[str, typer.Option(help="Names with commas from `toolkit drill list`, or all.")] = "all",
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds each is played with.")] = 1,
    first_seed: Annotated[int, typer.Option(min=0, help="The first of them.")] = 1,
    out: Annotated[Path | None, typer.Option(help="The folder to leave behind; it must not exist.")] = None,
    jobs: Jobs = DEFAULT_JOBS,
    scheduler: Scheduler = "",
    json: Json = False,
) -> None:
    """Play each scenario with each seed. Exit code 0 when every drill passed."""
    from toolkit.drill.campaign import Campaign, chosen_scenarios

    folder = out or REPORTS / "campaigns" / f"{utc_now():%Y%m%dT%H%M%SZ}"
    _play(
        lambda: Campaign.begin(folder, chosen_scenarios(scenarios), range(first_seed, first_seed + seeds)),
        jobs,
        scheduler,
        json,
    )


@app.command(epilog=examples("toolkit campaign resume reports/campaigns/20261201T030000Z --jobs 1"))
def resume(folder: Folder, jobs: Jobs = DEFAULT_JOBS, scheduler: Scheduler = "", json: Json = False) -> None:
    """Go on with a campaign that was interrupted: what came to a score is not played again."""
    from toolkit.drill.campaign import Campaign

    _play(lambda: Campaign.at(folder), jobs, scheduler, json)


@app.command(
    epilog=examples(
        "toolkit campaign show reports/campaigns/20261201T030000Z",
        "toolkit campaign show reports/campaigns/20261201T030000Z --json",
    )
)
def show(folder: Folder, json: Json = False) -> None:
    """Tell how a campaign stands, and write its dataset anew."""
    from toolkit.drill.campaign import Campaign, write_dataset

    campaign = Campaign.at(folder)
    files = write_dataset(campaign)
    if json:
        print_json({"campaign": str(folder), "drills": _rows(campaign), "files": [str(each) for each in files]})
        return
    _tell(campaign)


def _play(begin: "Callable[[], Campaign]", jobs: int, scheduler: str, json: bool) -> None:
    from toolkit.drill.campaign import run_campaign, write_dataset

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    campaign = begin()
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    passed = False
    try:
        with Progress(*columns, console=console, disable=json) as bar:
            task = bar.add_task("drills", total=len(campaign.drills()))
            bar.update(task, completed=len(campaign.drills()) - len(campaign.left()))

            def listen(ended: "Ended") -> None:
                bar.update(task, completed=ended.done)
                bar.console.print(_line(ended), highlight=False, soft_wrap=True)

            passed = run_campaign(campaign, jobs=jobs, scheduler=scheduler, listen=listen)
    except KeyboardInterrupt:
        console.print(f"Interrupted. Go on with: toolkit campaign resume {campaign.folder}", soft_wrap=True)
        raise typer.Exit(130) from None
    finally:
        files = write_dataset(campaign)
    if json:
        print_json({"campaign": str(campaign.folder), "passed": passed, "drills": _rows(campaign)})
    else:
        _tell(campaign)
        typer.echo(f"Dataset: {files[0]}, {files[1].name}")
    raise typer.Exit(0 if passed else 1)


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _line(ended: "Ended") -> str:
    trouble = f": {ended.trouble}" if ended.trouble else ""
    sign = "passed" if ended.passed else "NOT passed"
    return f"{ended.done}/{ended.of}  {ended.drill.name}  {ended.outcome}, {sign}{trouble}"


def _rows(campaign: "Campaign") -> "list[dict[str, object]]":
    from toolkit.drill.campaign.dataset import drill_row

    rows: list[dict[str, object]] = []
    for each in campaign.drills():
        counted = each.counted()
        row = drill_row(each, counted) if counted else {"outcome": "not played", "passed": False}
        rows.append({"scenario": each.scenario, "seed": each.seed} | row)
    return rows


def _tell(campaign: "Campaign") -> None:
    table = Table("scenario", "seed", "outcome", "detected", "resolved", "lost", "done", "by the key", "passed")
    rows = _rows(campaign)
    for row in rows:
        times = [row.get(f"time_to_{name}_s") for name in ("detect", "resolve")]
        told = ["" if each is None else f"{each:.1f} s" for each in times]
        told += [str(row.get(name, "")) for name in ("lost", "decision.done", "decision.verdict")]
        table.add_row(str(row["scenario"]), str(row["seed"]), str(row["outcome"]), *told, _yes(row["passed"]))
    console = Console()
    console.print(table)
    played = sum(row["outcome"] != "not played" for row in rows)
    console.print(
        f"{sum(bool(row['passed']) for row in rows)} of {played} passed, {len(rows) - played} not played yet."
    )


def _yes(passed: object) -> str:
    return "yes" if passed else "[red]NO[/red]"
