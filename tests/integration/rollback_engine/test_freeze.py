"""Stopping writes on a real server: exactly undone, under writers, against every way to write that we know."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from freezing import Shop, Writers, shop_on
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from toolkit.clock import wait_until
from toolkit.drill.database import ServiceDatabase, create_database, create_roles
from toolkit.errors import RollbackError
from toolkit.lifeline import Lifeline
from toolkit.places import runtime_home
from toolkit.rollback.freeze import (
    Means,
    freeze_of,
    freeze_writes,
    frozen,
    look_released,
    reapply,
    release_writes,
    tighten,
)
from toolkit.rollback.freeze.privileges import write_privileges
from toolkit.server import PostgresServer

WRITES = (
    "INSERT INTO events (name) VALUES ('x')",
    "UPDATE events SET name = 'x'",
    "DELETE FROM events",
    "INSERT INTO cases (name) VALUES ('x')",
    "UPDATE cases SET note = 'x'",
    "INSERT INTO settings VALUES ('x', 'x')",
    "TRUNCATE settings",
    "INSERT INTO queue.job (name) VALUES ('x')",
    "INSERT INTO open_cases (name) VALUES ('x')",
    "SELECT nextval('tickets')",
    "CREATE TABLE queue.more ()",
)


@pytest.fixture
def shop(churn_database: ServiceDatabase) -> Iterator[Shop]:
    with shop_on(churn_database) as made:
        yield made


def refusals(shop: Shop, who: str) -> list[str]:
    """The writes that are refused to a role, for want of a privilege; none is kept."""
    refused = []
    with shop.connect(who, autocommit=True) as conn:
        for statement in WRITES:
            try:
                with conn.transaction(force_rollback=True):
                    conn.execute(statement)
            except psycopg.errors.InsufficientPrivilege:
                refused.append(statement)
    return refused


def test_nobody_of_the_application_can_write_and_all_can_read(shop: Shop) -> None:
    shop.execute("INSERT INTO settings VALUES ('a', 'b')")
    shop.freeze()
    for who in ("app_one", "reporter", "friend", "loader"):
        assert refusals(shop, who) == list(WRITES)
    with shop.connect("app_one") as conn:
        assert conn.execute("SELECT count(*) FROM events").fetchone() == (0,)


def test_the_acls_are_afterwards_what_they_were_item_by_item(shop: Shop) -> None:
    before = shop.acls()
    stopped = shop.freeze()
    assert shop.acls() != before
    assert stopped.privileges > 15
    released = release_writes(shop.database, "everything")
    assert (released.privileges, released.gone) == (stopped.privileges, ())
    assert shop.acls() == before
    assert look_released(shop.database, "plan-1", "everything").outcome == "pass"


def test_by_stages_each_gives_back_its_own_and_no_more(shop: Shop) -> None:
    before = shop.acls()
    shop.freeze()
    release_writes(shop.database, "webhooks")
    left = refusals(shop, "app_one")
    assert "INSERT INTO events (name) VALUES ('x')" not in left
    assert "UPDATE cases SET note = 'x'" not in left
    assert {"DELETE FROM events", "INSERT INTO queue.job (name) VALUES ('x')", "TRUNCATE settings"} <= set(left)
    assert look_released(shop.database, "plan-1", "webhooks").outcome == "pass"
    release_writes(shop.database, "reminders")
    left = refusals(shop, "app_one")
    assert "INSERT INTO queue.job (name) VALUES ('x')" not in left
    assert "DELETE FROM events" in left
    assert frozen(shop.database).stage == "reminders"
    release_writes(shop.database, "everything")
    assert frozen(shop.database) is None
    assert shop.acls() == before


def test_a_privilege_too_many_or_too_few_is_seen(shop: Shop) -> None:
    shop.freeze()
    assert look_released(shop.database, "plan-1", "webhooks").outcome == "fail"
    release_writes(shop.database, "webhooks")
    shop.execute("GRANT DELETE ON cases TO {}", "reporter")
    found = look_released(shop.database, "plan-1", "webhooks")
    assert (found.outcome, "1 more than were kept" in found.evidence) == ("fail", True)
    shop.execute("REVOKE DELETE ON cases FROM {}; REVOKE INSERT ON events FROM {}", "reporter", "app")
    found = look_released(shop.database, "plan-1", "webhooks")
    assert (found.outcome, "1 privileges missing" in found.evidence) == ("fail", True)


def test_frozen_twice_is_frozen_once(shop: Shop) -> None:
    before = shop.acls()
    first = shop.freeze()
    since = frozen(shop.database).since
    again = shop.freeze()
    assert (first.privileges > 0, again.privileges, frozen(shop.database).since) == (True, 0, since)
    release_writes(shop.database, "everything")
    assert shop.acls() == before


def test_what_was_granted_meanwhile_is_frozen_too_and_kept(shop: Shop) -> None:
    before = shop.acls()
    shop.freeze()
    shop.execute("GRANT DELETE ON settings TO {}", "app")
    assert shop.freeze().privileges == 1
    release_writes(shop.database, "everything")
    after = shop.acls()
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"relation settings"}
    assert any(item.startswith(f"{shop.role('app')}=d/") for item in after["relation settings"])


def test_another_plan_takes_a_freeze_over_with_what_it_kept(shop: Shop) -> None:
    before = shop.acls()
    shop.freeze()
    shop.freeze(plan="plan-2")
    there = frozen(shop.database)
    assert (there.plan, there.settled_at is None, freeze_of(shop.database, "plan-1")) == ("plan-2", False, None)
    release_writes(shop.database, "everything")
    assert shop.acls() == before


def test_frozen_again_after_a_stage_it_is_frozen_as_a_whole(shop: Shop) -> None:
    before = shop.acls()
    shop.freeze()
    release_writes(shop.database, "webhooks")
    shop.freeze()
    assert frozen(shop.database).stage is None
    assert refusals(shop, "app_one") == list(WRITES)
    release_writes(shop.database, "everything")
    assert shop.acls() == before


def test_exempt_roles_keep_their_privileges(shop: Shop) -> None:
    shop.execute("INSERT INTO settings VALUES ('a', 'b'); GRANT DELETE ON events TO {}", "loader")
    scope = shop.scope(exempt_roles=(shop.role("friend"),))
    before = shop.acls()
    freeze_writes(shop.database, scope, incident="i", plan="p", by="ada")
    with shop.connect("friend", autocommit=True) as conn:
        conn.execute("UPDATE settings SET value = 'c'")
    assert "DELETE FROM events" in refusals(shop, "loader")
    with shop.connect("loader") as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):
        conn.execute("UPDATE settings SET value = 'd'")
    release_writes(shop.database, "everything")
    assert shop.acls() == before


def test_under_writers_nothing_comes_after_and_nothing_acknowledged_is_lost(shop: Shop) -> None:
    with Writers(shop) as writers:
        shop.freeze()
        counted = shop.events()
        writers.wait_for_more()
        assert shop.events() == counted
        assert "42501" in writers.refused
        release_writes(shop.database, "everything")
        refused = len(writers.refused)
        wait_until(lambda: shop.events() > counted, within=20, what="writes after the release")
    assert refused <= len(writers.refused)
    kept = {row[0] for row in shop.execute("SELECT name FROM events")}
    assert set(writers.acknowledged) <= kept


def test_a_transaction_that_has_only_its_commit_left_is_ended(shop: Shop) -> None:
    with shop.connect("app_one") as conn:
        conn.execute("INSERT INTO events (name) VALUES ('half done')")
        stopped = shop.freeze()
        assert [each.pid for each in stopped.ended] == [conn.info.backend_pid]
        with pytest.raises(psycopg.OperationalError):
            conn.commit()
    assert shop.events() == 0


def test_a_statement_that_is_running_is_ended(shop: Shop) -> None:
    with shop.connect("app_one", autocommit=True) as conn:
        pid = conn.info.backend_pid
        conn.pgconn.send_query(b"INSERT INTO events (name) SELECT pg_sleep(600)::text")
        wait_until(
            lambda: shop.execute(f"SELECT pid FROM pg_locks WHERE pid = {pid} AND mode = 'RowExclusiveLock'"),
            within=10,
            what="the statement to run",
        )
        assert pid in [each.pid for each in shop.freeze().ended]
        conn.close()
    assert shop.events() == 0


def test_readers_and_their_transactions_are_left_alone(shop: Shop) -> None:
    with shop.connect("app_one") as conn:
        conn.execute("SELECT * FROM events")
        assert shop.freeze().ended == ()
        conn.execute("SELECT * FROM events")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute("INSERT INTO events (name) VALUES ('x')")


def test_a_privilege_that_we_could_not_give_back_is_not_taken(shop: Shop) -> None:
    shop.execute("REVOKE {} FROM toolkit", "friend")
    before = shop.acls()
    with pytest.raises(RollbackError, match=f"{shop.role('friend')} granted some"):
        shop.freeze()
    assert shop.acls() == before
    assert frozen(shop.database) is None


def test_an_application_that_owns_its_tables_is_refused_unless_we_may_shut_it_out(shop: Shop) -> None:
    shop.execute("GRANT churn_owner TO {}", "app_one")
    before = shop.acls()
    with pytest.raises(RollbackError, match=f"{shop.role('app_one')}.*churn_owner.*may not shut it out") as raised:
        shop.freeze()
    assert "NOLOGIN" in str(raised.value)
    assert (shop.acls(), frozen(shop.database)) == (before, None)


def test_an_application_that_owns_its_tables_is_shut_out_where_we_may(shop: Shop) -> None:
    shop.execute("GRANT churn_owner TO {}; ALTER ROLE toolkit CREATEROLE", "app_one")
    shop.execute("GRANT {} TO toolkit WITH ADMIN TRUE, INHERIT FALSE, SET FALSE", "app_one")
    try:
        with shop.connect("app_one", autocommit=True) as conn:
            stopped = shop.freeze()
            assert stopped.closed == (shop.role("app_one"),)
            with pytest.raises(psycopg.OperationalError):
                conn.execute("SELECT 1")
        with pytest.raises(psycopg.OperationalError, match="not permitted to log in"):
            shop.connect("app_one")
        release_writes(shop.database, "webhooks")
        shop.connect("app_one").close()
        assert shop.freeze().closed == (shop.role("app_one"),)  # and again
        release_writes(shop.database, "everything")
        shop.connect("app_one").close()
    finally:
        shop.execute("ALTER ROLE toolkit NOCREATEROLE")


def test_holes_that_no_privilege_closes_are_named(shop: Shop) -> None:
    shop.execute(
        """
        SET ROLE churn_owner;
        CREATE FUNCTION add_event() RETURNS void LANGUAGE sql SECURITY DEFINER
            AS $$INSERT INTO events (name) VALUES ('by function')$$;
        CREATE FUNCTION count_events() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS $$SELECT count(*) FROM events$$;
        RESET ROLE;
        """
    )
    holes = " ".join(shop.freeze().holes)
    assert "add_event()" in holes
    assert "count_events" not in holes
    assert "churn_owner may log in" in holes


def test_a_prepared_transaction_that_has_written_is_told(lifeline: Lifeline) -> None:
    home = Path(tempfile.mkdtemp(prefix="test-", dir=runtime_home()))
    home.chmod(0o711)
    server = PostgresServer.create(home, lifeline, settings={"max_prepared_transactions": "3"})
    try:
        with shop_on(create_database(server, create_roles(server), "churn")) as shop:
            with shop.connect("app_one", autocommit=True) as conn:
                conn.execute("BEGIN")
                conn.execute("INSERT INTO events (name) VALUES ('half done')")
                conn.execute("PREPARE TRANSACTION 'of-the-application'")
            with pytest.raises(RollbackError, match="prepared transaction of-the-application"):
                freeze_writes(
                    shop.database, shop.scope(), incident="i", plan="p", by="a", means=Means(end_within_s=0.2)
                )
            assert frozen(shop.database).settled_at is None
            shop.execute("ROLLBACK PREPARED 'of-the-application'")
            shop.freeze()
            assert frozen(shop.database).settled_at is not None
    finally:
        server.stop(immediately=True)
        shutil.rmtree(home)


def test_nothing_is_changed_when_we_may_not_act(shop: Shop) -> None:
    def refuse(_conn: object) -> None:
        raise RollbackError("somebody else has taken over")

    before = shop.acls()
    with pytest.raises(RollbackError, match="taken over"):
        freeze_writes(shop.database, shop.scope(), incident="i", plan="p", by="ada", means=Means(guard=refuse))
    assert (shop.acls(), frozen(shop.database)) == (before, None)


def test_what_a_migration_grants_while_frozen_is_frozen_in_its_transaction(shop: Shop) -> None:
    shop.freeze()
    with shop.database.writing() as conn:
        conn.execute("SET LOCAL ROLE churn_owner")
        conn.execute("CREATE TABLE fresh (name text)")
        conn.execute(f"GRANT INSERT ON fresh, settings TO {shop.role('app')}")
        assert tighten(conn) == 2
        assert conn.execute("SELECT current_user").fetchone() == ("churn_owner",)
    with shop.connect("app_one") as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):
        conn.execute("INSERT INTO fresh VALUES ('x')")
    release_writes(shop.database, "everything")
    with shop.connect("app_one") as conn:
        conn.execute("INSERT INTO fresh VALUES ('x')")
        conn.execute("INSERT INTO settings VALUES ('x')")


def test_tables_that_are_swapped_in_are_frozen_in_the_swap(shop: Shop) -> None:
    """The restored ones hold a privilege that was revoked since (loader), and a table that was dropped since."""
    app, loader = shop.role("app"), shop.role("loader")
    shop.freeze()
    with shop.database.writing() as conn:
        conn.execute("SET LOCAL ROLE churn_owner")
        conn.execute("CREATE SCHEMA restored_public")
        conn.execute("CREATE TABLE restored_public.events (id bigint GENERATED ALWAYS AS IDENTITY, name text)")
        conn.execute("CREATE TABLE restored_public.dropped (name text)")
        conn.execute(
            f"GRANT USAGE ON SCHEMA restored_public TO PUBLIC; GRANT SELECT, INSERT ON restored_public.events TO {app}"
        )
        conn.execute(f"GRANT INSERT ON restored_public.events, restored_public.dropped TO {loader}")
        assert reapply(conn, {"public": "restored_public"}) == 3
        conn.execute("ALTER SCHEMA public RENAME TO damaged_public")
        conn.execute("ALTER SCHEMA restored_public RENAME TO public")
    assert frozen(shop.database) is not None
    with shop.connect("app_one") as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):
        conn.execute("INSERT INTO events (name) VALUES ('x')")
    released = release_writes(shop.database, "everything")
    assert {each.name for each in released.gone} >= {"cases", "settings"}
    with shop.connect("app_one") as conn:
        conn.execute("INSERT INTO events (name) VALUES ('x')")
    with shop.connect("loader") as conn:
        conn.execute("INSERT INTO dropped VALUES ('x')")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute("INSERT INTO events (name) VALUES ('x')")


GRANTS = st.lists(
    st.tuples(
        st.sampled_from(("INSERT", "UPDATE", "DELETE", "TRUNCATE", "INSERT (name)", "UPDATE (name)", "ALL", "SELECT")),
        st.sampled_from(("events", "cases", "queue.job", "open_cases")),
        st.sampled_from(("app", "app_two", "reporter", "friend")),
        st.booleans(),
    ),
    max_size=8,
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(grants=GRANTS, stages=st.lists(st.sampled_from(("webhooks", "reminders")), max_size=2))
def test_whatever_is_granted_comes_back_exactly(shop: Shop, grants: list[tuple[str, ...]], stages: list[str]) -> None:
    for words, table, role, option in grants:
        grant = f"GRANT {words} ON {table} TO {{}}{' WITH GRANT OPTION' if option else ''}"
        shop.execute(f"SET ROLE churn_owner; {grant}; RESET ROLE", role)
    before = shop.acls()
    shop.freeze()
    with psycopg.connect(shop.service.admin_url) as conn:
        assert {each.privilege.grantee for each in write_privileges(conn, ("public", "queue"), ())} <= {"toolkit"}
    for stage in [*stages, "everything"]:
        release_writes(shop.database, stage)
    assert shop.acls() == before


def test_nothing_is_reapplied_where_nothing_is_frozen(shop: Shop) -> None:
    before = shop.acls()
    with shop.database.writing() as conn:
        assert (tighten(conn), reapply(conn, {})) == (0, 0)
    assert shop.acls() == before


def test_a_role_that_was_dropped_meanwhile_is_told(shop: Shop) -> None:
    shop.freeze()
    shop.execute("DROP OWNED BY {}; DROP ROLE {}", "loader", "loader")
    loader = shop.roles.pop("loader")
    released = release_writes(shop.database, "everything")
    assert [each.grantee for each in released.gone] == [loader]
