"""Plays all drills that are left: a few at a time on this machine, or on a Dask cluster.

A cluster's workers need this package, the campaign's folder at the same place, and a playbook where they were started
(or in TOOLKIT_PLAYBOOK). A worker that dies takes its drill with it; the scheduler gives that drill to another, in a
folder of its own.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from toolkit.drill.campaign.plan import Campaign, Planned, read_score
from toolkit.drill.campaign.player import COMMAND, play
from toolkit.errors import ToolkitError, UsageError
from toolkit.lifeline import Lifeline

CONNECT_WITHIN_S = 10
TRIES = 3  # at a drill, where workers die


@dataclass(frozen=True)
class Progress:
    """A drill that has ended: how it came out, and how many are done of how many. `trouble` where it has no score."""

    drill: Planned
    outcome: str
    passed: bool
    done: int
    of: int
    trouble: str = ""


def run_campaign(
    campaign: Campaign,
    *,
    jobs: int = 1,
    scheduler: str = "",
    listen: Callable[[Progress], None] = lambda _p: None,
    command: Sequence[str] = COMMAND,
) -> bool:
    """Play what is left, `jobs` at a time or as the cluster at `scheduler` has workers. True where every drill of the
    campaign has a score and passed.

    `listen` hears each drill as it ends. Raises UsageError without the extra `cluster` or when no scheduler answers.
    An interruption ends the drills that run; `run_campaign` again goes on.
    """
    left, drills = campaign.left(), campaign.drills()
    done = len(drills) - len(left)
    with _played(left, jobs, scheduler, command) as ended:
        for each, trouble in ended:
            done += 1
            listen(_progress(each, trouble, done, len(drills)))
    return all(_passed(each) for each in drills)


@contextmanager
def _played(
    left: Sequence[Planned], jobs: int, scheduler: str, command: Sequence[str]
) -> Iterator[Iterator[tuple[Planned, str]]]:
    if scheduler:
        with _client(scheduler) as client:
            yield _on_cluster(client, left, command)
    else:
        pool, lifeline = ThreadPoolExecutor(max(1, jobs)), Lifeline.create()
        try:
            yield _here(pool, lifeline, left, command)
        finally:
            lifeline.cut()  # what still runs ends in order, its sandbox with it
            pool.shutdown(cancel_futures=True)


def _here(
    pool: ThreadPoolExecutor, lifeline: Lifeline, left: Sequence[Planned], command: Sequence[str]
) -> Iterator[tuple[Planned, str]]:
    waiting = {pool.submit(play, each.scenario, each.seed, str(each.folder), command, lifeline): each for each in left}
    for future in as_completed(waiting):
        error = future.exception()
        yield waiting[future], "" if error is None else str(error)


@contextmanager
def _client(address: str) -> Iterator[Any]:
    try:
        from distributed import Client  # the extra `cluster`
    except ImportError:
        raise UsageError(
            "A cluster needs the extra `cluster`, which is not installed",
            state="nothing was done",
            next='pip install "rollback-drills[cluster]", or leave --scheduler out',
        ) from None
    try:
        client: Any = Client(address, timeout=CONNECT_WITHIN_S, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise ToolkitError(
            f"No scheduler answers at {address}: {str(error) or type(error).__name__}",
            state="nothing was done",
            next="start one (dask scheduler), and workers (dask worker ADDRESS)",
        ) from None
    try:
        yield client
    finally:
        client.close()


def _on_cluster(client: Any, left: Sequence[Planned], command: Sequence[str]) -> Iterator[tuple[Planned, str]]:
    """A drill uses a machine's processors by itself: each worker should have one thread."""
    from distributed import as_completed as as_they_complete

    waiting = {
        client.submit(
            play,
            each.scenario,
            each.seed,
            str(each.folder.resolve()),
            list(command),
            key=f"{each.name}-{each.folder.parent.parent.name}",
            pure=False,
            retries=TRIES,
        ): each
        for each in left
    }
    for future in as_they_complete(list(waiting), loop=client.loop):  # type: ignore[no-untyped-call]
        error = future.exception()
        yield waiting[future], "" if error is None else f"{type(error).__name__}: {error}"


def _progress(each: Planned, trouble: str, done: int, of: int) -> Progress:
    counted = each.counted()
    score = read_score(counted) if counted else None
    if score is None:
        return Progress(each, "no score", False, done, of, trouble or f"read the newest said.log in {each.folder}")
    return Progress(each, str(score["outcome"]), _passed(each), done, of, str(score.get("stopped_by") or ""))


def _passed(each: Planned) -> bool:
    """By the drill's own judgement of its score."""
    from toolkit.drill.score import Score

    counted = each.counted()
    score = read_score(counted) if counted else None
    return score is not None and Score.model_validate(score).passed
