"""Two million events on a server of our own, seeded once for all benchmarks of a module (it takes about a minute).

BENCH_EVENTS says how many events there are instead; what is to be met is then shown and not judged.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from pydantic import SecretStr

from toolkit.adapters.postgres import Database
from toolkit.drill.database import OWNER, ServiceDatabase, create_database, create_roles
from toolkit.drill.schema import migrate_up, seed
from toolkit.lifeline import Lifeline
from toolkit.places import runtime_home
from toolkit.server import PostgresServer

FULL = 2_000_000
EVENTS, CASES, VERSION = int(os.environ.get("BENCH_EVENTS", str(FULL))), 50_000, 8


def met(holds: bool) -> str:
    """For a line of figures."""
    return "met" if holds else "[red]NOT MET[/red]"


def require_met(holds: bool) -> None:
    """Fail where a target is not met; at full size only, for it says nothing about fewer rows."""
    assert holds or EVENTS < FULL, "a target is not met"


@dataclass(frozen=True)
class Seeded:
    """The server and the database on it. Take a copy of it (TEMPLATE) before you change anything."""

    server: PostgresServer
    service: ServiceDatabase

    @property
    def database(self) -> Database:
        return Database(SecretStr(self.service.toolkit_url), target="bench")

    @contextmanager
    def copied(self, name: str) -> Iterator[ServiceDatabase]:
        """A copy of the database, gone afterwards. Nobody may be connected to the original meanwhile."""
        with psycopg.connect(self.server.url(), autocommit=True) as conn:
            conn.execute(f"CREATE DATABASE {name} TEMPLATE {self.service.name} OWNER {OWNER}")
        try:
            yield ServiceDatabase(self.server, name, self.service.passwords)
        finally:
            with psycopg.connect(self.server.url(), autocommit=True) as conn:
                conn.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def two_million() -> Iterator[Seeded]:
    home = Path(tempfile.mkdtemp(prefix="bench-", dir=runtime_home()))
    home.chmod(0o711)
    line = Lifeline.create()
    try:
        server = PostgresServer.create(home, line)
        passwords = create_roles(server)
        service = create_database(server, passwords, "bench")
        with psycopg.connect(service.owner_url) as conn:
            migrate_up(conn, VERSION)
            seed(conn, seed=1, events=EVENTS, cases=CASES)
        seeded = Seeded(server, service)
        seeded.database.prepare()
        with psycopg.connect(service.admin_url, autocommit=True) as conn:
            conn.execute("ANALYZE")
        yield seeded
        server.stop(immediately=True)
    finally:
        line.cut()
        shutil.rmtree(home, ignore_errors=True)
