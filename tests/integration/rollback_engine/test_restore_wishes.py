"""What is asked of a restore is what is planned and done: its source, its turn, the damage that somebody confirmed."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from restore_fixtures import Origin, clone, make_origin
from restore_rig import RestoreRig, damage_settings, environment_of

from toolkit.adapters.conflicts import settle, undecided
from toolkit.adapters.postgres import StablePoint
from toolkit.checks import Outcome
from toolkit.cli import main
from toolkit.errors import RollbackError
from toolkit.rollback import RunResult, aftermath
from toolkit.rollback.backup import make_backup
from toolkit.rollback.lease import Lease, holder_of
from toolkit.rollback.merge.conflicts import prepare
from toolkit.rollback.plan import Plan, SwapIn
from toolkit.rollback.restore.names import mark_of
from toolkit.rollback.restore.putting_back import put_back, swap_to_undo
from toolkit.rollback.restore_file import damage_to_confirm, read_restore_file
from toolkit.rollback.restoring import restore_plan
from toolkit.rollback.settling import settle_conflicts
from toolkit.rollback.situation import Releases, Situation
from toolkit.rollback.steps import doing_of
from toolkit.server import PostgresServer

RIGHT = "SELECT count(*) FROM creator_settings WHERE incentive_days = 99"


@pytest.fixture(scope="module")
def origin(cluster: PostgresServer, role_passwords: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Origin:
    return make_origin(cluster, role_passwords, tmp_path_factory.mktemp("wishes"), version=8)


@pytest.fixture
def rig(origin: Origin, tmp_path: Path) -> Iterator[RestoreRig]:
    """With a backup of the clone itself, for one of another database is refused."""
    for made in clone(origin, tmp_path):
        shutil.rmtree(made.backup)
        make_backup(made.systems, made.backup, incident=made.incident, actor="tester")
        yield made


def situation(rig: RestoreRig) -> Situation:
    nobody = SimpleNamespace(id="dpl_8", schema_version=8)  # no platform is asked here
    server = rig.systems.database.identity()
    return Situation("churn-saver", "sandbox", server, False, Releases(nobody, ()))  # type: ignore[arg-type]


def test_a_lawful_change_of_every_row_is_told_and_not_taken_for_damage(rig: RestoreRig) -> None:
    stable = StablePoint(8, "dpl_8", datetime.now(UTC), {"xid": rig.query("SELECT txid_current()::text")[0][0]})
    rig.query("UPDATE recovery_cases SET incentive_days = incentive_days + 1")
    facts = replace(situation(rig), stable=(stable,))
    plan = restore_plan(rig.systems, rig.incident, facts, str(rig.backup))
    (suspected,) = plan.proposed
    assert suspected.damage.table == "public.recovery_cases"
    assert any("recovery_cases" in line and "not taken" in line for line in plan.warnings)
    assert swap_of(plan).damage == ()
    file = Path(rig.incident.folder / f"restore-{plan.id}.json")
    assert str(file) in damage_to_confirm(plan, rig.incident)
    file.write_text(file.read_text().replace('"take": false', '"take": true'))
    wish = read_restore_file(file).wish(file)
    confirmed = restore_plan(rig.systems, rig.incident, facts, str(rig.backup), wish=wish)
    assert swap_of(confirmed).damage == (suspected.damage,)


def swap_of(plan: Plan) -> SwapIn:
    return next(step.action for step in plan.steps if isinstance(step.action, SwapIn))


def carry_out(rig: RestoreRig, plan: Plan) -> None:
    for step in plan.steps:
        doing = doing_of(step, rig.around(plan=plan))
        doing.require()
        assert not doing.look().done
        doing.act()
        assert doing.look().done


def test_damage_that_came_again_is_restored_again(rig: RestoreRig) -> None:
    marks = set()
    for turn in (1, 2):
        damage_settings(rig)
        plan = restore_plan(rig.systems, rig.incident, situation(rig), str(rig.backup))
        confirmed = replace(swap_of(plan), damage=rig.damage)
        steps = tuple(replace(s, action=confirmed) if s.action == swap_of(plan) else s for s in plan.steps)
        assert plan.turn == turn and any("another one" in line for line in plan.warnings) == (turn == 2)
        carry_out(rig, replace(plan, steps=steps))
        assert rig.query(RIGHT) == [(0,)]
        marks |= {row[0] for row in rig.query("SELECT mark FROM toolkit.swap WHERE state = 'done'")}
        assert len(marks) == turn
    rig.query("UPDATE creator_settings SET incentive_days = 5")
    last = swap_to_undo(rig.systems.database, mark_of(rig.incident.id, str(rig.backup), 2))
    with pytest.raises(RollbackError, match=r"written since the swap .*public\.creator_settings"):
        put_back(rig.around(plan=plan), last)
    run = RunResult(plan, True, (), datetime.now(UTC), 1.0)
    assert [each.outcome for each in aftermath(rig.systems, rig.incident, run, actor="t")] == [Outcome.PASS]
    rig.query(
        "INSERT INTO toolkit.conflict (mark, table_name, key, reason) VALUES"
        " ('m', 'public.events', '{\"id\": 1}', 'older'), ('m', 'public.events', '{\"id\": 2}', 'refused: events_pkey')"
    )
    (refused,) = aftermath(rig.systems, rig.incident, run, actor="t")
    assert refused.outcome is Outcome.FAIL and "1 refused: events_pkey" in refused.evidence
    with rig.systems.database.writing() as conn:
        assert [each.key for each in undecided(conn)] == [{"id": 1}, {"id": 2}]
        conn.execute("UPDATE toolkit.conflict SET settled = 'by hand' WHERE reason <> 'older'")
    (open_one,) = aftermath(rig.systems, rig.incident, run, actor="t")
    assert open_one.outcome is Outcome.UNKNOWN
    with rig.systems.database.writing() as conn:
        assert settle(conn, "m", "looked at") == 1
    assert [each.outcome for each in aftermath(rig.systems, rig.incident, run, actor="t")] == [Outcome.PASS]


@pytest.fixture
def toolkit(
    rig: RestoreRig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, Any]]:
    """Runs a command on the rig's target; its exit code and its answer."""
    for name, value in environment_of(rig.database.toolkit_url).items():
        monkeypatch.setenv(name, value)

    def call(*words: str, execute: bool = False) -> tuple[int, Any]:
        doing = ("--incident", str(rig.incident.folder), "--execute") if execute else ()
        with pytest.raises(SystemExit) as ended:
            main([*words, "--target", "sandbox", "--json", *doing])
        return int(ended.value.code or 0), json.loads(capsys.readouterr().out)

    return call


def test_a_swap_of_schemas_is_listed_put_back_and_discarded(
    rig: RestoreRig, toolkit: Callable[..., tuple[int, Any]]
) -> None:
    damage_settings(rig)
    rig.beside("schemas").act()
    rig.swap("schemas").act()
    assert [row["what"] for row in toolkit("restore", "leftovers")[1]["leftovers"]] == ["damaged"]
    code, dry = toolkit("restore", "put-back", rig.mark)
    assert (code, dry["executed"]) == (0, False) and "put-back" in dry["command"] and rig.query(RIGHT) == [(0,)]
    assert toolkit("restore", "put-back", rig.mark, execute=True)[0] == 0
    assert rig.query(RIGHT) != [(0,)], "the damaged rows are live again"
    assert toolkit("restore", "put-back", rig.mark, execute=True)[0] == 2
    assert [row["what"] for row in toolkit("restore", "leftovers")[1]["leftovers"]] == ["restored"]
    assert toolkit("restore", "discard", rig.mark)[1]["executed"] is False
    assert toolkit("restore", "discard", rig.mark, execute=True)[0] == 0
    assert toolkit("restore", "leftovers")[1]["leftovers"] == []
    kinds = [entry.kind for entry in rig.incident.journal.entries()]
    assert [each for each in kinds if each.startswith("restore.")] == [
        "restore.put_back.begun",
        "restore.put_back",
        "restore.discard.begun",
        "restore.discarded",
    ]
    assert holder_of(rig.systems.database) is None


def test_renamed_databases_go_back_by_the_same_command(
    rig: RestoreRig, toolkit: Callable[..., tuple[int, Any]]
) -> None:
    Lease.acquire(rig.systems.database, incident=rig.incident.id, plan="p", holder="t").release()
    damage_settings(rig)
    rig.beside("databases").act()
    rig.swap("databases").act()
    assert rig.query(RIGHT) == [(0,)]
    code, told = toolkit("restore", "put-back", rig.mark, execute=True)
    assert code == 0 and rig.query(RIGHT) != [(0,)], told
    assert holder_of(rig.systems.database) is None


def test_conflicts_are_listed_and_settled_with_a_reason(
    rig: RestoreRig, toolkit: Callable[..., tuple[int, Any]]
) -> None:
    assert toolkit("restore", "conflicts") == (0, {"undecided": []})
    with rig.systems.database.writing() as conn:
        prepare(conn)
        conn.execute(
            "INSERT INTO toolkit.conflict (mark, table_name, key, reason)"
            " VALUES ('m', 'events', '{\"id\": 1}', 'older')"
        )
    code, told = toolkit("restore", "conflicts")
    assert code == 3 and told["undecided"] == [
        {"mark": "m", "table": "events", "key": "id=1", "column": "", "reason": "older"}
    ]
    assert "1 older" in settle_conflicts(rig.systems, rig.incident, "", actor="t")
    with rig.systems.database.writing() as conn:
        conn.execute(
            "INSERT INTO toolkit.conflict (mark, table_name, key, reason) VALUES ('n', 'e', '{}', 'refused: x')"
        )
        conn.execute("INSERT INTO toolkit.conflict (mark, table_name, key, reason) VALUES ('n', 'e', '[]', 'older')")
        conn.execute("UPDATE toolkit.conflict SET settled = 'before' WHERE mark = 'm'")
    assert "1 refused rows are not" in settle_conflicts(rig.systems, rig.incident, "it may stay", actor="t")
    with rig.systems.database.writing() as conn:
        conn.execute("DELETE FROM toolkit.conflict WHERE mark = 'n'")
        conn.execute("UPDATE toolkit.conflict SET settled = NULL")
    assert toolkit("restore", "settle", "m", "looked at")[1]["executed"] is False
    assert toolkit("restore", "settle", "m", "looked at", execute=True)[1] == {"executed": True, "settled": 1}
    assert toolkit("restore", "conflicts")[0] == 0
    assert rig.query("SELECT settled FROM toolkit.conflict") == [("responder: looked at",)]
