"""A campaign plays each drill once: interrupted, gone on with, or with a worker that is killed in the middle of one."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pandas as pd
import psutil
import pytest

from toolkit.clock import wait_until
from toolkit.drill.campaign import Campaign, chosen_scenarios, run_campaign, write_dataset
from toolkit.errors import ToolkitError, UsageError

PLAYED = (sys.executable, str(Path(__file__).with_name("played_drill.py")))
NAMES = ("bad-deployment", "lock-queue")
TOOLKIT = Path(sys.executable).with_name("toolkit")


@pytest.fixture
def campaign(tmp_path: Path) -> Campaign:
    return Campaign.begin(tmp_path / "campaign", NAMES, (1, 2))


def drills(campaign: Campaign) -> pd.DataFrame:
    return pd.read_parquet(write_dataset(campaign)[0])


def test_every_drill_is_a_row_and_every_step_too(campaign: Campaign) -> None:
    heard = []
    assert run_campaign(campaign, jobs=2, listen=heard.append, command=PLAYED)
    assert [each.done for each in heard] == [1, 2, 3, 4] and all(each.passed for each in heard)
    found = drills(campaign)
    assert sorted(zip(found.scenario, found.seed, strict=True)) == sorted((n, s) for n in NAMES for s in (1, 2))
    assert found.passed.all() and (found["checks.pass"] == 59).all() and (found.exit_code == 0).all()
    assert (found.ended >= found.began).all() and str(found.began.dtype.pyarrow_dtype.tz) == "UTC"
    steps = pd.read_parquet(campaign.folder / "steps.parquet")
    assert set(steps.step) == {"assess", "roll back", "point-production"} and len(steps) == 12


def test_a_drill_that_did_not_pass_is_told_and_is_played_once(campaign: Campaign) -> None:
    (campaign.folder / "lose-2").touch()
    assert not run_campaign(campaign, command=PLAYED)
    assert not run_campaign(Campaign.at(campaign.folder), command=("/nonexistent",)), "nothing is left to play"
    found = drills(campaign)
    assert found.groupby("seed").passed.all().to_dict() == {1: True, 2: False} and set(found.tries) == {1}


def test_what_was_cut_off_is_kept_and_played_again(campaign: Campaign) -> None:
    """By Ctrl-C while one runs: that one ends, its folder stays, and no other is begun."""
    (campaign.folder / "wait-2").touch()
    stopped = threading.Event()

    def stop_at_the_second(ended) -> None:
        if ended.done == 2:
            wait_until(lambda: list(campaign.folder.glob("drills/*-2/try-1/drill/pid")), within=20, what="a third")
            stopped.set()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_campaign(campaign, listen=stop_at_the_second, command=PLAYED)
    [cut] = campaign.folder.glob("drills/*-2/try-1/drill/pid")
    assert stopped.is_set() and not psutil.pid_exists(int(cut.read_text()))
    assert len(drills(campaign)) == 2 and len(campaign.left()) == 2
    (campaign.folder / "wait-2").unlink()
    assert run_campaign(Campaign.at(campaign.folder), command=PLAYED)
    found = drills(campaign)
    assert len(found) == 4 and cut.exists() and sorted(found.tries) == [1, 1, 1, 2]


def test_half_a_score_and_an_interrupted_one_do_not_count(campaign: Campaign) -> None:
    first, second = campaign.drills()[:2]
    for planned, text in ((first, '{"scenario": "bad'), (second, '{"scenario": "x", "outcome": "interrupted"}')):
        place = planned.next_try() / "drill"
        place.mkdir()
        (place / "score.json").write_text(text)
    assert len(campaign.left()) == 4
    assert run_campaign(campaign, command=PLAYED) and len(drills(campaign)) == 4


@contextmanager
def cluster(folder: Path) -> Iterator[tuple[str, list["subprocess.Popen[bytes]"]]]:
    """A scheduler and two workers of one thread, each a process of its own."""
    told, dask = folder / "scheduler.json", str(Path(sys.executable).with_name("dask"))
    root = Path(__file__).parents[2]
    quiet = dict(os.environ) | {"PYTHONPATH": str(root), "TOOLKIT_PLAYBOOK": str(root / "playbook.toml")}
    with ExitStack() as ends, (folder / "cluster.log").open("wb") as log:

        def start(*words: str) -> "subprocess.Popen[bytes]":
            process = subprocess.Popen([dask, *words], cwd=folder, env=quiet, stdout=log, stderr=log)
            ends.callback(process.wait)
            ends.callback(process.kill)
            return process

        start("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(told))
        wait_until(lambda: told.exists() and told.read_text().strip().endswith("}"), within=60, what="the scheduler")
        address = json.loads(told.read_text())["address"]
        words = ("worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1")
        words += ("--local-directory", str(folder))
        yield address, [start(*words, "--name", f"worker-{number}") for number in (1, 2)]


def test_a_worker_that_is_killed_costs_no_drill_and_none_is_counted_twice(campaign: Campaign, tmp_path: Path) -> None:
    (campaign.folder / "wait-2").touch()
    with cluster(tmp_path) as (address, workers):
        passed: list[bool] = []
        playing = threading.Thread(
            target=lambda: passed.append(run_campaign(campaign, scheduler=address, command=PLAYED)), daemon=True
        )
        playing.start()
        running = "drills/*-2/try-1/drill/pid"
        wait_until(lambda: len(list(campaign.folder.glob(running))) == 2, within=60, what="both workers to play")
        pids = {int(path.read_text()) for path in campaign.folder.glob(running)}
        [hit] = [pid for pid in pids if workers[0].pid in {each.pid for each in psutil.Process(pid).parents()}]
        workers[0].send_signal(signal.SIGKILL)
        wait_until(lambda: not psutil.pid_exists(hit), within=20, what="the drill of the killed worker to end")
        (campaign.folder / "wait-2").unlink()
        playing.join(60)
    assert passed == [True]
    found = drills(campaign)
    assert len(found) == 4 and not found.duplicated(["scenario", "seed"]).any()
    assert sorted(found.tries) == [1, 1, 1, 2], "the one that was cut off was played again, by the other"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "--scenarios", "nonsense"], "There is no scenario 'nonsense'"),
        (["run", "--scenarios", ","], "No scenario was named"),
        (["resume", "."], "is no campaign"),
        (["show", "."], "is no campaign"),
    ],
)
def test_bad_input_is_told_and_nothing_is_made(words: list[str], said: str, tmp_path: Path) -> None:
    done = subprocess.run([TOOLKIT, "campaign", *words], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_folder_that_stands_is_not_written_over(campaign: Campaign) -> None:
    with pytest.raises(UsageError, match="exists already"):
        Campaign.begin(campaign.folder, NAMES, (1,))
    with pytest.raises(UsageError, match="is no seed"):
        Campaign.begin(campaign.folder / "other", NAMES, (-1,))
    assert len(chosen_scenarios("all")) >= 16


def test_without_a_scheduler_nothing_is_played(campaign: Campaign) -> None:
    with pytest.raises(ToolkitError, match="No scheduler answers at"):
        run_campaign(campaign, scheduler="tcp://127.0.0.1:1", command=PLAYED)
    assert len(campaign.left()) == 4 and not list(campaign.folder.glob("drills/*"))


@pytest.mark.soak
def test_a_real_drill_is_played_by_a_real_worker(tmp_path: Path) -> None:
    """As a user would: the command, a cluster, and nothing that stands in."""
    with cluster(tmp_path) as (address, _workers):
        argv = [TOOLKIT, "campaign", "run", "--scenarios", "stuck-queue", "--scheduler", address, "--out", "real"]
        environment = dict(os.environ) | {"TOOLKIT_PLAYBOOK": str(Path(__file__).parents[2] / "playbook.toml")}
        done = subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    [row] = pd.read_parquet(tmp_path / "real" / "drills.parquet").to_dict("records")
    assert (row["scenario"], row["passed"], row["lost"], row["decision.verdict"]) == ("stuck-queue", True, 0, "right")
