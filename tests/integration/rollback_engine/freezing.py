"""A database that has all kinds of grants, and people who write to it, for the tests of the freeze."""

import itertools
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg
from psycopg import sql
from pydantic import SecretStr

from toolkit.adapters.postgres import Database
from toolkit.clock import wait_until
from toolkit.drill.database import ServiceDatabase
from toolkit.rollback.freeze import Scope, Stages, Stopped, freeze_writes

_numbers = itertools.count(1)

SCHEMAS = ("public", "queue")
STAGES = Stages(webhooks=frozenset({("public", "events"), ("public", "cases")}), reminders=frozenset({("queue", "*")}))


@dataclass
class Shop:
    """Tables of `owner`, roles that are this test's own (roles belong to the server), and who may do what."""

    service: ServiceDatabase
    admin: psycopg.Connection
    database: Database
    roles: dict[str, str] = field(default_factory=dict)

    def role(self, name: str) -> str:
        """The real name of a role of this test."""
        return self.roles[name]

    def url(self, name: str) -> str:
        return self.service.server.url(self.roles[name], "word", self.service.name)

    def scope(self, **more: object) -> Scope:
        fields: dict[str, object] = {"schemas": SCHEMAS, "application_roles": (self.role("app"),), "stages": STAGES}
        return Scope(**(fields | more))  # type: ignore[arg-type]

    def freeze(self, plan: str = "plan-1", **more: object) -> Stopped:
        return freeze_writes(self.database, self.scope(**more), incident="inc-1", plan=plan, by="ada")

    def execute(self, statement: str, *names: str) -> list[tuple[object, ...]]:
        """As the superuser; `{}` stands for names of roles."""
        composed = sql.SQL(statement).format(*(sql.Identifier(self.role(name)) for name in names))
        done = self.admin.execute(composed)
        return done.fetchall() if done.description else []

    def acls(self) -> dict[str, list[str]]:
        """Every ACL of the schemas as text, item by item: of relations, columns, schemas."""
        rows = self.admin.execute(
            """
            SELECT 'relation ' || oid::regclass, relacl::text[] FROM pg_class
            WHERE relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname = ANY (%(schemas)s))
            UNION ALL
            SELECT 'column ' || attrelid::regclass || '.' || attname, attacl::text[]
            FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
            WHERE relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname = ANY (%(schemas)s)) AND attnum > 0
            UNION ALL
            SELECT 'schema ' || nspname, nspacl::text[] FROM pg_namespace WHERE nspname = ANY (%(schemas)s)
            """,
            {"schemas": list(SCHEMAS)},
        ).fetchall()
        return {name: sorted(items) if items is not None else None for name, items in rows}

    def connect(self, name: str, **more: object) -> psycopg.Connection:
        return psycopg.connect(self.url(name), **more)  # type: ignore[arg-type]

    def events(self) -> int:
        return int(self.execute("SELECT count(*) FROM events")[0][0])  # type: ignore[call-overload]


ROLES = ("app", "app_one", "app_two", "reporter", "loader", "friend")


@contextmanager
def shop_on(service: ServiceDatabase) -> Iterator[Shop]:
    """The shop: its grants cover tables, columns, sequences, schemas, PUBLIC, grant options and other grantors."""
    mark = f"{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(service.admin_url, autocommit=True) as admin:
        shop = Shop(service, admin, Database(SecretStr(service.toolkit_url), target="sandbox"))
        for name in ROLES:
            shop.roles[name] = f"{name}_{mark}"
            login = "NOLOGIN" if name == "app" else "LOGIN"
            admin.execute(
                sql.SQL("CREATE ROLE {} {} PASSWORD 'word'").format(sql.Identifier(shop.roles[name]), sql.SQL(login))
            )
        try:
            _fill(shop)
            yield shop
        finally:
            for name in reversed(shop.roles.values()):  # who granted on goes before those to whom
                admin.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(name)))
                admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def _fill(shop: Shop) -> None:
    for member in ("app_one", "app_two"):
        shop.execute("GRANT {} TO {}", "app", member)
    shop.execute("GRANT {} TO toolkit WITH INHERIT FALSE", "app")
    shop.execute("GRANT {} TO toolkit WITH INHERIT FALSE", "friend")
    shop.execute(
        """
        SET ROLE churn_owner;
        CREATE SCHEMA queue;
        CREATE TABLE events (id bigint GENERATED ALWAYS AS IDENTITY, name text UNIQUE, at timestamptz DEFAULT now());
        CREATE TABLE cases (id serial PRIMARY KEY, name text, note text);
        CREATE TABLE settings (name text PRIMARY KEY, value text);
        CREATE TABLE queue.job (id bigint GENERATED ALWAYS AS IDENTITY, name text, state text DEFAULT 'created',
                                started_on timestamptz, created_on timestamptz DEFAULT now());
        CREATE SEQUENCE tickets;
        CREATE VIEW open_cases AS SELECT * FROM cases;
        GRANT USAGE ON SCHEMA public, queue TO PUBLIC;
        GRANT SELECT, INSERT, UPDATE, DELETE ON events, cases, queue.job TO {};
        GRANT USAGE, SELECT ON SEQUENCE cases_id_seq, tickets TO {};
        GRANT SELECT, INSERT (name), UPDATE (note) ON cases TO {};
        GRANT INSERT ON open_cases TO {};
        GRANT INSERT, TRUNCATE ON settings TO PUBLIC;
        GRANT CREATE ON SCHEMA queue TO {};
        GRANT SELECT, INSERT, UPDATE ON settings TO {} WITH GRANT OPTION;
        RESET ROLE;
        """,
        *("app", "app", "reporter", "reporter", "app", "friend"),
    )
    shop.execute("SET ROLE {}; GRANT UPDATE ON settings TO {}; RESET ROLE", "friend", "loader")


class Writers:
    """Sessions that insert as fast as they can, each row in its own transaction, and remember what was committed."""

    def __init__(self, shop: Shop, members: Sequence[str] = ("app_one", "app_two", "app_one")) -> None:
        self._shop, self._stop = shop, threading.Event()
        self.acknowledged: list[str] = []
        self.refused: list[str] = []
        self._threads = [threading.Thread(target=self._write, args=(n, who)) for n, who in enumerate(members)]

    def __enter__(self) -> "Writers":
        for thread in self._threads:
            thread.start()
        wait_until(lambda: len(self.acknowledged) > 20, within=20, what="writers to write")
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(20)

    def wait_for_more(self) -> None:
        """Until every one of them has come round again, let or refused."""
        seen = len(self.acknowledged) + len(self.refused)
        wait_until(lambda: len(self.acknowledged) + len(self.refused) > seen + 20, within=20, what="more attempts")

    def _write(self, number: int, who: str) -> None:
        names = (f"{number}-{n}" for n in itertools.count())
        while not self._stop.is_set():
            try:
                with self._shop.connect(who, autocommit=True) as conn:
                    self._insert(conn, names)
            except psycopg.Error as error:
                self.refused.append(error.sqlstate or "gone")

    def _insert(self, conn: psycopg.Connection, names: Iterator[str]) -> None:
        for name in names:
            if self._stop.is_set():
                return
            try:
                conn.execute("INSERT INTO events (name) VALUES (%s)", (name,))
                self.acknowledged.append(name)
            except psycopg.errors.InsufficientPrivilege as error:
                self.refused.append(error.sqlstate or "")
