"""Practice by the calendar: what passed counts, what did not does not, and never done is overdue."""

import calendar
import json
import os
import re
import shlex
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.main import get_command

from toolkit.analysis.due import RECOVERY, Practice, Standing, months_later, what_is_due
from toolkit.analysis.practised import read_practised
from toolkit.cli import app
from toolkit.playbook import DrillSchedule, load_playbook

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / ".github" / "workflows" / "drills.yml"
MONTHLY = DrillSchedule(title="Monthly", every_months=1)
QUARTERLY = DrillSchedule(title="Quarterly", every_months=3, scenarios=("full-outage", "two-faults"))
YEARLY = DrillSchedule(title="Yearly", every_months=12, scenarios=(RECOVERY,))
SCHEDULE = (MONTHLY, QUARTERLY, YEARLY)


def done(what: str, day: date, *, passed: bool = True) -> Practice:
    return Practice(what, datetime(day.year, day.month, day.day, 12, tzinfo=UTC), passed, "")


def standings(practised: list[Practice], today: date) -> list[Standing]:
    return [each.standing for each in what_is_due(SCHEDULE, practised, today)]


@given(st.dates(date(2000, 1, 1), date(2100, 1, 1)), st.integers(1, 24))
def test_so_many_months_later_is_the_same_day_or_the_last(day: date, months: int) -> None:
    later = months_later(day, months)
    assert (later.year * 12 + later.month) - (day.year * 12 + day.month) == months
    assert later.day == min(day.day, calendar.monthrange(later.year, later.month)[1])


@pytest.mark.parametrize(
    ("day", "months", "expected"),
    [
        (date(2027, 1, 31), 1, date(2027, 2, 28)),
        (date(2028, 1, 31), 1, date(2028, 2, 29)),
        (date(2028, 2, 29), 12, date(2029, 2, 28)),
        (date(2026, 12, 1), 1, date(2027, 1, 1)),
    ],
)
def test_ends_of_months_and_leap_years(day: date, months: int, expected: date) -> None:
    assert months_later(day, months) == expected


def test_never_done_is_overdue_and_each_counts_for_its_own() -> None:
    today = date(2026, 12, 1)
    assert standings([], today) == [Standing.OVERDUE] * 3
    assert standings([done("lock-queue", today)], today) == [Standing.KEPT, Standing.OVERDUE, Standing.OVERDUE]
    assert standings([done("two-faults", today)], today) == [Standing.KEPT, Standing.KEPT, Standing.OVERDUE]
    assert standings([done(RECOVERY, today)], today) == [Standing.OVERDUE, Standing.OVERDUE, Standing.KEPT]


def test_the_day_it_is_due_is_in_time_and_the_day_after_is_not() -> None:
    practised = [done("full-outage", date(2026, 11, 1))]
    for today, standing in (
        (date(2026, 11, 20), Standing.KEPT),
        (date(2026, 11, 28), Standing.SOON),
        (date(2026, 12, 1), Standing.SOON),
        (date(2026, 12, 2), Standing.OVERDUE),
    ):
        assert standings(practised, today)[0] is standing, today


def test_what_did_not_pass_does_not_count_and_is_told() -> None:
    first, failed = done("lock-queue", date(2026, 9, 1)), done("lock-queue", date(2026, 11, 30), passed=False)
    found = what_is_due((MONTHLY,), [failed, first], date(2026, 12, 1))[0]
    assert found.standing is Standing.OVERDUE and found.last == first
    assert "lock-queue of 2026-11-30 did not pass" in str(found.row()["last passed"])
    mended = what_is_due((MONTHLY,), [failed, first, done("lock-queue", date(2026, 12, 1))], date(2026, 12, 1))[0]
    assert mended.standing is Standing.KEPT and mended.failed is None


def test_recovery_tests_are_read_and_what_is_torn_is_named(tmp_path: Path) -> None:
    for name, outcome in (("well", "pass"), ("ill", "fail")):
        (tmp_path / name).mkdir()
        told = {"tested_at": "2026-12-01T03:00:00.000000Z", "outcome": outcome}
        (tmp_path / name / "recovery.json").write_text(json.dumps(told))
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "recovery.json").write_text('{"tested_at": "yesterday"}')
    found, unread = read_practised([tmp_path, tmp_path / "nowhere"])
    assert sorted(each.passed for each in found) == [False, True] and len(unread) == 1 and "torn" in unread[0]


def test_the_playbooks_schedule_names_what_there_is() -> None:
    from toolkit.drill.scenario import scenario_names

    for each in load_playbook(str(ROOT / "playbook.toml")).drills:
        assert set(each.scenarios) <= {*scenario_names(), RECOVERY}
    for due in what_is_due(SCHEDULE, [], date(2026, 12, 1)):
        assert_is_a_command(shlex.split(due.command))


def assert_is_a_command(words: list[str]) -> None:
    """A command of ours as it stands: its verbs are there, and so is each of its options."""
    command = get_command(app)
    assert Path(words[0]).name == "toolkit", words
    rest = words[1:]
    while hasattr(command, "commands"):
        command, rest = command.commands[rest[0]], rest[1:]
    known = {option for each in command.params for option in (*each.opts, *each.secondary_opts)}
    assert {word.partition("=")[0] for word in rest if word.startswith("--")} <= known, words


def commands_in(text: str) -> list[list[str]]:
    found = re.findall(r"(?:^|\s)(\S*toolkit (?:drill|recovery-test)[^|>&\n]*)", text)
    return [shlex.split(each) for each in found]


def test_the_workflow_runs_what_there_is() -> None:
    workflow = yaml.safe_load(WORKFLOW.read_text())
    steps = workflow["jobs"]["practise"]["steps"]
    scripts = [step["run"] for step in steps if "run" in step]
    assert workflow[True]["schedule"][0]["cron"].split() == ["17", "3", "2", "*", "*"]  # YAML 1.1 reads `on` as true
    assert workflow["permissions"] == {"contents": "read", "issues": "write"}
    assert all(re.fullmatch(r"actions/[a-z-]+@v\d+", step["uses"]) for step in steps if "uses" in step)
    for script in scripts:
        checked = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=False)
        assert not checked.returncode, checked.stderr
    found = [words for script in scripts for words in commands_in(script)]
    assert len(found) >= 3
    for words in found:
        assert_is_a_command(words)
    made = [words for script in scripts for words in re.findall(r"make (\S+)", script)]
    assert made == [".venv/.installed"]


def test_the_line_for_cron_runs_where_cron_runs_it(tmp_path: Path) -> None:
    """Without a terminal, and with an environment that is nearly empty."""
    [line] = [line for line in WORKFLOW.read_text().splitlines() if re.match(r"#\s+17 3 2 ", line)]
    [words] = commands_in(line)
    assert words[1:] == ["drill", "due", "--run"]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "SHELL": "/bin/sh"}
    argv = [str(Path(sys.executable).with_name("toolkit")), "drill", "due", "--reports", str(tmp_path), "--json"]
    made = subprocess.run(
        argv, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert made.returncode == 1, made.stderr
    assert json.loads(made.stdout)["overdue"] == 3


def test_due_is_told_by_exit_code_and_a_bad_day_is_refused(tmp_path: Path) -> None:
    toolkit = str(Path(sys.executable).with_name("toolkit"))
    environment = dict(os.environ) | {"TOOLKIT_PLAYBOOK": str(ROOT / "playbook.toml")}
    for days in (0, 400):
        folder = tmp_path / str(days)
        folder.mkdir(parents=True)
        at = datetime.now(UTC) - timedelta(days=days)
        (folder / "recovery.json").write_text(json.dumps({"tested_at": at.isoformat(), "outcome": "pass"}))
    argv = [toolkit, "drill", "due", "--reports", str(tmp_path), "--as-of", "31.1."]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "is no day" in done.stderr and "Traceback" not in done.stderr
