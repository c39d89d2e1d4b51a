"""What pg_restore says is read line by line, however it comes in pieces, and no row is kept of it."""

import pickle
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from toolkit.adapters.pgtools_words import Contents, RestoreWords, complaint, is_no_lock
from toolkit.adapters.plain_dump import knows_restrict
from toolkit.adapters.postgres import Database
from toolkit.errors import BackupError, DatabaseError, WrongServerError
from toolkit.playbook import pg_bindir
from toolkit.rollback.blocking import sqlstate_of

LISTING = """;
; Archive created at 2026-11-25 04:31:54 UTC
;     Format: DIRECTORY
;
7; 2615 2200 SCHEMA - public r
223; 1259 16431 TABLE public t postgres
2589; 0 16431 TABLE DATA public t postgres
2436; 2606 16438 CONSTRAINT public t t_pkey postgres
"""
SAID = """pg_restore: connecting to database for restore
pg_restore: creating SCHEMA "public"
pg_restore: while PROCESSING TOC:
pg_restore: from TOC entry 7; 2615 2200 SCHEMA public r
pg_restore: error: could not execute query: ERROR:  schema "public" already exists
Command was: CREATE SCHEMA public;


pg_restore: creating TABLE "public.t"
pg_restore: launching item 2589 TABLE DATA t
pg_restore: from TOC entry 2589; 0 16431 TABLE DATA t postgres
pg_restore: error: COPY failed for table "t": ERROR:  invalid input syntax for type integer: "4711 Mr Smith"
DETAIL:  Key (id)=(4711) already exists.
CONTEXT:  COPY t, line 1: "4711 Mr Smith"
pg_restore: finished item 2589 TABLE DATA t
pg_restore: from TOC entry 2436; 2606 16438 CONSTRAINT t t_pkey postgres
pg_restore: error: could not execute query: ERROR:  multiple primary keys for table "t" are not allowed
pg_restore: warning: errors ignored on restore: 3
"""
REFUSED = [
    "TABLE DATA t: invalid input syntax for type integer",
    'CONSTRAINT t t_pkey: multiple primary keys for table "t" are not allowed',
]


def read(words: str, *cuts: int) -> RestoreWords:
    reading = RestoreWords(Contents.read(LISTING), None)
    places = [0, *sorted(cuts), len(words)]
    for start, end in pairwise(places):
        reading.take(words[start:end])
    return reading


def test_refusals_are_told_by_their_object_and_without_values() -> None:
    reading = read(SAID)
    assert reading.outcome(1) == REFUSED
    assert "Smith" not in str(reading.refused) and "4711" not in str(reading.refused)


@given(st.lists(st.integers(0, len(SAID)), max_size=6))
def test_pieces_make_no_difference(cuts: list[int]) -> None:
    assert read(SAID, *cuts).outcome(1) == REFUSED


def test_how_far_it_is_never_passes_the_whole() -> None:
    reading = read(SAID * 5)
    done, whole = reading.far
    assert done == whole == 4
    assert read("").far == (0, 4)


def test_an_end_before_the_end_is_no_list() -> None:
    with pytest.raises(BackupError, match="unexpected end of file"):
        read(f"{SAID.partition('pg_restore: warning')[0]}pg_restore: error: unexpected end of file\n").outcome(1)
    with pytest.raises(BackupError, match="signal 9"):
        read("").outcome(256 - 9)  # as the guard beside it hands it on
    assert read('pg_restore: creating SCHEMA "public"\n').outcome(0) == []


def test_the_first_complaint_is_the_one_that_tells() -> None:
    words = 'psql:<stdin>:3: ERROR:  column "x" does not exist\nLINE 1: SELECT secret\nHINT: no\n'
    assert complaint(words, 3) == 'column "x" does not exist'
    assert complaint("pg_dump: error: no\nDETAIL: row", 1) == "no"
    assert complaint("", -9) == "it was ended by signal 9"
    assert len(complaint("x" * 1000, 1)) == 200
    assert is_no_lock("pg_dump: error: could not obtain lock on relation") and not is_no_lock("pg_dump: error: no")


@pytest.mark.parametrize(
    ("version", "knows"),
    [
        ("18.6", True),
        ("17.6", True),
        ("17.5", False),
        ("13.22", True),
        ("13.9", False),
        ("12.22", False),
        ("19beta1", True),
    ],
)
def test_which_psql_can_be_kept_from_running_programs(version: str, knows: bool) -> None:
    assert knows_restrict(version) is knows


class TestConnection:
    def test_all_that_a_url_says_reaches_the_programs(self) -> None:
        url = (
            "postgresql://me:s%40fe@db.example:5433/app?sslmode=verify-full&sslrootcert=/ca.pem&options=-c%20geqo%3Doff"
            "&target_session_attrs=read-write&channel_binding=require&connect_timeout=9"
        )
        assert Database(SecretStr(url), target="x").libpq() == {
            "PGHOST": "db.example",
            "PGPORT": "5433",
            "PGUSER": "me",
            "PGPASSWORD": "s@fe",
            "PGDATABASE": "app",
            "PGSSLMODE": "verify-full",
            "PGSSLROOTCERT": "/ca.pem",
            "PGOPTIONS": "-c geqo=off",
            "PGTARGETSESSIONATTRS": "read-write",
            "PGCHANNELBINDING": "require",
            "PGCONNECT_TIMEOUT": "9",
        }

    def test_what_has_no_variable_is_left_out(self) -> None:
        assert Database(SecretStr("host=h keepalives=1 dbname=''"), target="x").libpq() == {"PGHOST": "h"}


class TestErrors:
    @pytest.mark.parametrize("kind", [DatabaseError, WrongServerError])
    def test_the_servers_code_crosses_processes(self, kind: type[DatabaseError]) -> None:
        error = pickle.loads(pickle.dumps(kind("no", target="t", state="s", next="n", sqlstate="55P03")))
        assert type(error) is kind
        assert (error.what, error.target, error.state, error.next, error.sqlstate) == ("no", "t", "s", "n", "55P03")
        assert sqlstate_of(error) == "55P03"

    def test_other_errors_have_none(self) -> None:
        error = pickle.loads(pickle.dumps(BackupError("no", next="n")))
        assert (error.what, error.next, sqlstate_of(error)) == ("no", "n", None)
        assert sqlstate_of(DatabaseError("no")) is None


def test_programs_of_a_major_version_have_a_variable_of_their_own() -> None:
    environ = {"PG_BINDIR": "/a", "PG_BINDIR_16": "/b"}
    assert str(pg_bindir(environ)) == "/a" and str(pg_bindir(environ, major=16)) == "/b"
    assert pg_bindir(environ, major=17) is None and pg_bindir({}) is None
