"""What belongs to which stage of a release, by the playbook's words or by what its other tables tell."""

from pathlib import Path

import pytest

from toolkit.playbook import Freeze, Playbook, load_playbook
from toolkit.rollback.freeze import STAGES, scope_of, stages_of
from toolkit.rollback.freeze.privileges import Privilege, in_schemas
from toolkit.rollback.freeze.stages import reached


@pytest.fixture
def playbook() -> Playbook:
    return load_playbook(Path("playbook.toml"))


@pytest.mark.parametrize(
    ("kind", "schema", "name", "privilege", "stage"),
    [
        ("table", "public", "events", "INSERT", "webhooks"),
        ("table", "public", "events", "UPDATE", "webhooks"),
        ("table", "public", "events", "DELETE", "everything"),  # the clean-up waits
        ("table", "public", "events", "TRUNCATE", "everything"),
        ("table", "public", "recovery_cases", "UPDATE", "webhooks"),  # a trace
        ("column", "public", "recovery_cases", "UPDATE", "webhooks"),
        ("table", "public", "recovery_actions", "INSERT", "webhooks"),  # which references a trace
        ("table", "public", "creator_settings", "UPDATE", "everything"),
        ("table", "pgboss", "job", "INSERT", "reminders"),
        ("table", "pgboss", "job", "DELETE", "reminders"),
        ("sequence", "public", "events", "USAGE", "webhooks"),  # named by the table that it serves
        ("sequence", "public", "tickets", "USAGE", "everything"),
        ("schema", "public", "", "CREATE", "everything"),
        ("role", "", "owner_that_logs_in", "LOGIN", "webhooks"),
    ],
)
def test_the_stage_of_a_privilege(
    playbook: Playbook, kind: str, schema: str, name: str, privilege: str, stage: str
) -> None:
    assert stages_of(playbook).of(kind, schema, name, privilege) == stage


def test_the_playbook_may_name_the_tables(playbook: Playbook) -> None:
    named = playbook.model_copy(update={"freeze": Freeze(stages={"webhooks": ("inbox.*",), "reminders": ("jobs",)})})
    stages = stages_of(named)
    assert stages.of("table", "inbox", "anything", "INSERT") == "webhooks"
    assert stages.of("table", "public", "jobs", "DELETE") == "reminders"
    assert stages.of("table", "public", "events", "INSERT") == "everything"


def test_stages_come_one_after_the_other() -> None:
    assert STAGES == ("webhooks", "reminders", "everything")
    assert [len(reached(stage)) for stage in STAGES] == [1, 2, 3]


def test_the_scope_is_the_playbooks(playbook: Playbook) -> None:
    scope = scope_of(playbook)
    assert (scope.schemas, scope.application_roles, scope.exempt_roles) == (("public", "pgboss"), ("churn_app",), ())


def test_privileges_keep_their_names_in_another_schema() -> None:
    one = Privilege("table", "restored_public", "events", "", "app", "INSERT", "owner", False)
    other = Privilege("table", "pgboss", "job", "", "app", "INSERT", "owner", False)
    renamed = in_schemas([one, other], {"restored_public": "public"})
    assert [each.schema for each in renamed] == ["public", "pgboss"]
