"""The file in which somebody confirms, corrects or declines what is taken for damage."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from toolkit.adapters.postgres import ServerIdentity
from toolkit.cli.restore_words import Restoring
from toolkit.errors import UsageError
from toolkit.rollback.damage import Damage, Proposal
from toolkit.rollback.plan import Plan, RestoreBeside, Step, SwapIn
from toolkit.rollback.restore_file import is_restore_file, read_restore_file, write_restore_file

SERVER = ServerIdentity("7", "churn", "db", 5432, "18.6")
TAKEN = Damage("public.item", ("a",), "b < 3", ("77",), "overwritten", (("a", "'x'"),))
SUSPECTED = Damage("public.calm", ("a",), xids=("78",))
PROPOSED = (Proposal(TAKEN, ("line 1",), 60, True), Proposal(SUSPECTED, ("by one transaction",), 50, False))


def step(name: str, action: RestoreBeside | SwapIn) -> Step:
    return Step(name, action, "what", "why", "expected", "verify", "undo")


PLAN = Plan(
    "restore",
    "churn-saver",
    "sandbox",
    SERVER,
    "a restore",
    (
        step("restore-beside", RestoreBeside("/backups/A", "ab", "schemas")),
        step("swap-in", SwapIn("/backups/A", "schemas", (TAKEN,))),
    ),
    proposed=PROPOSED,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    written = tmp_path / "restore.json"
    write_restore_file(written, PLAN)
    return written


def test_what_is_taken_and_what_is_not_stands_in_it_and_comes_back(path: Path) -> None:
    said = json.loads(path.read_text())
    assert [(each["table"], each["take"]) for each in said["damage"]] == [("public.item", True), ("public.calm", False)]
    assert said["damage"][1]["evidence"] == ["by one transaction"] and said["source"] == "/backups/A"
    assert read_restore_file(path).wish(path).damage == (TAKEN,)
    assert is_restore_file(str(path)) and not is_restore_file("newest") and path.stat().st_mode & 0o077 == 0


def test_what_somebody_corrects_is_what_counts(path: Path) -> None:
    said = json.loads(path.read_text())
    said["damage"][0]["take"], said["damage"][1]["take"] = False, True
    said |= {"way": "reload", "damaged_at": "2026-11-25T12:00:00+01:00", "freeze": True}
    path.write_text(json.dumps(said))
    wish = Restoring(damage=path, wanted_version=7).wish()
    assert (wish.damage, wish.way, wish.freeze, wish.wanted_version) == ((SUSPECTED,), "reload", True, 7)
    assert wish.damaged_at == datetime(2026, 11, 25, 11, tzinfo=UTC)
    assert Restoring(damage=path, damaged_at="2026-11-25T10:00").wish().damaged_at == datetime(
        2026, 11, 25, 10, tzinfo=UTC
    )


def test_a_wish_survives_the_journal(path: Path) -> None:
    from dataclasses import replace

    from toolkit.rollback.plan import Wish

    plan = replace(PLAN, wish=Wish("restore", None, None, restore=Restoring(damage=path, way="schemas").wish()).bare)
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


@pytest.mark.parametrize(
    ("wrong", "said"),
    [("{", "the file"), ('{"damage": [{"table": "x"}]}', "damage.0.take"), ('{"damage": [], "weg": 1}', "weg")],
)
def test_what_is_wrong_in_it_is_named(path: Path, wrong: str, said: str) -> None:
    path.write_text(wrong)
    with pytest.raises(UsageError, match=said):
        read_restore_file(path)


def test_a_file_is_never_overwritten_and_a_moment_is_one(path: Path) -> None:
    with pytest.raises(UsageError, match="stands there already"):
        write_restore_file(path, PLAN)
    with pytest.raises(UsageError, match="is no moment"):
        Restoring(damaged_at="noon").wish()
