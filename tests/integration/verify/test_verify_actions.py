"""What a person does with a case, tried over a real socket; whether people are notified; and nothing of it left."""

import psycopg
import pytest
from one_service import FAIL, PASS, PLAYBOOK, UNKNOWN, by_name
from stub_target import StubTarget
from test_verify_functional import rows_left

from toolkit.adapters.systems import Systems
from toolkit.checks import CheckResult, Outcome, run_checks
from toolkit.drill.database import ServiceDatabase
from toolkit.verify import actions
from toolkit.verify.actions import action_checks

NUDGE, CANCEL, TERMINATE = (f"{action.path} works by hand" for action in PLAYBOOK.verification.actions)
NOTIFIED = "notifications are sent"


def tried(systems: Systems) -> dict[str, CheckResult]:
    return by_name(run_checks(action_checks(systems)))


def test_each_action_works_and_nothing_is_left(systems: Systems, served_database: ServiceDatabase) -> None:
    results = tried(systems)
    assert {name: result.outcome for name, result in results.items()} == dict.fromkeys(
        (NUDGE, CANCEL, TERMINATE, NOTIFIED), PASS
    ), results
    assert results[CANCEL].evidence == (
        "answered with 200; recovery_cases.status changed, recovery_actions.case_id names it"
    )
    assert "the one by hand" in results[NOTIFIED].evidence and rows_left(served_database) == 0


@pytest.mark.parametrize(
    ("wrong", "outcome", "told"),
    [
        ({"status": 500}, FAIL, "answered with 500"),
        ({"changes": False}, FAIL, "recovery_cases.status did not change"),
        ({"records": False}, FAIL, "recovery_actions.case_id does not name it"),
        ({"status": 401, "changes": False}, UNKNOWN, "wants a person's login"),
    ],
)
def test_an_action_without_effect_is_found(
    systems: Systems, stub: StubTarget, served_database: ServiceDatabase, wrong: dict, outcome: Outcome, told: str
) -> None:
    vars(stub.act).update(wrong)
    found = tried(systems)[CANCEL]
    assert found.outcome is outcome and told in found.evidence
    assert rows_left(served_database) == 0


def test_without_a_row_to_try_it_on_it_fails(
    systems: Systems, stub: StubTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "OPENED_WITHIN_S", 0.3)
    stub.receive.after = lambda conn, _event: conn.execute(
        "DELETE FROM recovery_cases WHERE membership_id LIKE 'mem_verify%'"
    )
    found = tried(systems)[NUDGE]
    assert found.outcome is FAIL and "none was opened within 0.3 s" in found.evidence


def test_what_was_recorded_lately_tells_that_people_are_notified(
    systems: Systems, stub: StubTarget, served_database: ServiceDatabase
) -> None:
    stub.act.records = False
    assert tried(systems)[NOTIFIED].outcome is FAIL
    with psycopg.connect(served_database.owner_url) as conn:
        conn.execute("INSERT INTO recovery_actions (case_id, type) SELECT id, 'cancel' FROM recovery_cases")
    assert tried(systems)[NOTIFIED].outcome is FAIL, "a cancellation is no notification"
    with psycopg.connect(served_database.owner_url) as conn:
        conn.execute("INSERT INTO recovery_actions (case_id, type) SELECT id, 'nudge' FROM recovery_cases")
    found = tried(systems)[NOTIFIED]
    assert found.outcome is PASS and found.evidence.startswith("3 were recorded in recovery_actions in the last")
