"""What is asked of a restore is what is planned and done: its source, its turn, the damage that somebody confirmed."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from restore_fixtures import Origin, clone, make_origin
from restore_rig import RestoreRig, damage_settings

from toolkit.adapters.conflicts import settle, undecided
from toolkit.adapters.postgres import StablePoint
from toolkit.checks import Outcome
from toolkit.rollback import RunResult, aftermath
from toolkit.rollback.backup import make_backup
from toolkit.rollback.plan import Plan, SwapIn
from toolkit.rollback.restore_file import damage_to_confirm, read_restore_file
from toolkit.rollback.restoring import restore_plan
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
    taken = swap_of(restore_plan(rig.systems, rig.incident, facts, str(rig.backup), wish=wish))
    assert taken.damage == (suspected.damage,)


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
        damaged = replace(swap_of(plan), damage=rig.damage)
        steps = [replace(each, action=damaged) if each.id == "swap-in" else each for each in plan.steps]
        assert plan.turn == turn and any("another one" in line for line in plan.warnings) == (turn == 2)
        carry_out(rig, replace(plan, steps=tuple(steps)))
        assert rig.query(RIGHT) == [(0,)]
        marks |= {row[0] for row in rig.query("SELECT mark FROM toolkit.swap WHERE state = 'done'")}
        assert len(marks) == turn
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
