"""`make bench`: Type 1's own time against `psql -1 -f down.sql` on the same database, side by side; salvage shown apart.

Both take the same migration back on a table of N events (`BENCH_EVENTS`, 2 million unless said): a column that every row
has a value in is dropped, and rows are removed by their condition. The copy, the rehearsal and the schema comparison are
steps of their own and not in it. At most 2 s more than psql is the promise, salvage apart.
"""

import os
import statistics
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from rich.console import Console
from rich.table import Table

from toolkit.adapters.systems import Systems, connect
from toolkit.drill.database import OWNER, ServiceDatabase, create_database, create_roles
from toolkit.incident import Incident
from toolkit.lifeline import Lifeline
from toolkit.places import runtime_home
from toolkit.playbook import load_playbook
from toolkit.rollback.blocking import Patience
from toolkit.rollback.migrations import read_folder
from toolkit.rollback.plan import Plan, RunDown, Step
from toolkit.rollback.steps.doing import Surroundings
from toolkit.rollback.steps.run_down import RunningDown
from toolkit.server import PostgresServer, find_binary

EVENTS = int(os.environ.get("BENCH_EVENTS", "2000000"))
ROUNDS = 3
AT_MOST_MORE_S = 2.0
UP = "ALTER TABLE events ADD COLUMN origin jsonb"
DOWN = "ALTER TABLE events DROP COLUMN origin;\nDELETE FROM marks WHERE id % 2 = 0;\n"
NOWHERE = "http://127.0.0.1:9"
MADE = """
CREATE TABLE schema_migrations (version bigint PRIMARY KEY, dirty boolean NOT NULL);
INSERT INTO schema_migrations VALUES (2, false);
CREATE TABLE marks AS SELECT i AS id, 'mark ' || i AS said FROM generate_series(1, 1000) AS i;
ALTER TABLE marks ADD PRIMARY KEY (id);
CREATE TABLE events (id uuid PRIMARY KEY, whop_event_id text UNIQUE, payload jsonb, created_at timestamptz);
"""
FILLED = """
INSERT INTO events
SELECT gen_random_uuid(), 'evt_' || i, jsonb_build_object('n', i, 'said', repeat('x', 60)), now()
FROM generate_series(1, %(events)s) AS i;
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServiceDatabase]:
    line = Lifeline.create()
    home = runtime_home() / f"bench-{os.getpid()}"
    home.mkdir(parents=True)
    home.chmod(0o711)
    running = PostgresServer.create(home, line)
    yield create_database(running, create_roles(running), "bench")
    running.stop(immediately=True)
    line.cut()
    subprocess.run(["rm", "-r", str(home)], check=True)
