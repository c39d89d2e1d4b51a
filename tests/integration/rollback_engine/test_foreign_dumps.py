"""Dumps of others, made by the real pg_dump in each of its forms, and what becomes of them on the way."""

import gzip
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.adapters.pgtools import PgTools
from toolkit.clock import utc_now
from toolkit.drill.database import create_database
from toolkit.drill.schema import migrate_up, seed
from toolkit.errors import BackupError
from toolkit.rollback.backup.foreign import ForeignDump, Form, describe_dump, require_usable
from toolkit.server import PostgresServer, find_binaries

TOOLS = PgTools(find_binaries())
FORMS = {"plain": Form.PLAIN, "custom": Form.CUSTOM, "tar": Form.TAR, "directory": Form.DIRECTORY}
TABLES = {("public", name) for name in ("events", "recovery_cases", "recovery_actions", "creator_settings")}


@pytest.fixture(scope="module")
def dumps(
    cluster: PostgresServer, role_passwords: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """A folder with a dump in each form: plain, plain.gz, custom, custom-unpacked, tar, directory, …"""
    database = create_database(cluster, role_passwords, "for_foreign_dumps")
    with psycopg.connect(database.owner_url) as conn:
        migrate_up(conn, 8)
        seed(conn, seed=3, events=500, cases=50)
    folder = tmp_path_factory.mktemp("dumps")
    for name, words in {
        "plain": ["--format=plain", "--verbose"],
        "inserts": ["--format=plain", "--inserts"],
        "created": ["--format=plain", "--create"],
        "definitions": ["--format=plain", "--schema-only"],
        "rows": ["--format=custom", "--data-only"],
        "custom": ["--format=custom"],
        "custom-unpacked": ["--format=custom", "--compress=0"],
        "tar": ["--format=tar"],
        "directory": ["--format=directory"],
        "directory-unpacked": ["--format=directory", "--compress=0"],
    }.items():
        dump = [cluster.binaries.program("pg_dump"), *words, "--file", folder / name, database.admin_url]
        subprocess.run(dump, check=True, capture_output=True)
    (folder / "plain.gz").write_bytes(gzip.compress((folder / "plain").read_bytes()))
    everything = [cluster.binaries.program("pg_dumpall"), "--globals-only", "-d", cluster.url(), "-f"]
    subprocess.run([*everything, folder / "cluster"], check=True, capture_output=True)
    yield folder
    with psycopg.connect(cluster.url(), autocommit=True) as conn:
        conn.execute("DROP DATABASE for_foreign_dumps WITH (FORCE)")


def describe(path: Path, server_major: int | None = None) -> ForeignDump:
    return describe_dump(path, TOOLS, server_major=server_major)


@pytest.mark.parametrize(
    "name", ["plain", "plain.gz", "inserts", "custom", "custom-unpacked", "tar", "directory", "directory-unpacked"]
)
def test_each_form_is_known_and_described(dumps: Path, name: str) -> None:
    found = describe(dumps / name, 18)
    assert found.reasons == ()
    require_usable(found)
    assert found.form is FORMS.get(name.partition("-")[0].partition(".")[0], Form.PLAIN)
    assert set(found.tables) >= TABLES and set(found.with_rows) >= TABLES
    assert {"public", "pgboss"} <= set(found.schemas)
    assert found.extensions == ("pg_stat_statements",)
    assert found.server_version and found.server_version.startswith("18.")
    assert found.dump_version and found.dump_version.startswith("18.")
    if found.form in (Form.CUSTOM, Form.TAR, Form.DIRECTORY):
        assert found.database == "for_foreign_dumps" and found.told_at
    if (dumps / name).is_file():
        assert found.sha256 == hashlib.sha256((dumps / name).read_bytes()).hexdigest()
        assert found.bytes == (dumps / name).stat().st_size
    assert found.packed is (name in ("plain.gz", "custom", "directory"))


@pytest.mark.parametrize("name", ["plain", "plain.gz", "custom", "directory"])
def test_how_far_it_is_read_is_told_to_the_end(dumps: Path, name: str) -> None:
    heard: dict[str, list[tuple[float, float | None]]] = {}
    describe_dump(dumps / name, TOOLS, advance=lambda what, done, of: heard.setdefault(what, []).append((done, of)))
    assert set(heard) >= {"reading the dump", *(["reading the archive"] if name in ("custom", "directory") else [])}
    for told in heard.values():
        assert told == sorted(told) and told[-1][0] > 0
    done, of = heard["reading the dump"][-1]
    assert done == of


def test_the_time_of_a_plain_one_is_told_when_its_zone_is_utc(dumps: Path, tmp_path: Path) -> None:
    text = (dumps / "plain").read_text()
    started = next(line for line in text.splitlines() if line.startswith("-- Started on "))
    for zone, known in ((" UTC", True), (" CET", False)):
        words = started.removeprefix("-- Started on ").rpartition(" ")[0] + zone
        path = tmp_path / f"dump{zone.strip()}.sql"
        path.write_text(text.replace(started, f"-- Started on {words}"))
        found = describe(path)
        assert found.told_at == words
        assert (found.made_at is not None) is known
        assert not known or abs(found.made_at - utc_now()) < timedelta(days=1)


class TestRefusing:
    def reason(self, path: Path, what: str, server_major: int | None = None) -> None:
        found = describe(path, server_major)
        assert not found.usable
        with pytest.raises(BackupError, match=what):
            require_usable(found)

    @pytest.mark.parametrize("name", ["plain", "plain.gz", "inserts", "custom", "custom-unpacked", "tar"])
    @given(share=st.floats(0.02, 0.995))
    @settings(max_examples=12, deadline=None)
    def test_a_file_that_breaks_off(self, dumps: Path, name: str, share: float) -> None:
        cut = dumps / f"cut-{name}"
        content = (dumps / name).read_bytes()
        cut.write_bytes(content[: int(share * len(content))])
        try:
            found = describe(cut)
        except BackupError:
            return
        assert not found.usable
        assert any(word in " ".join(found.reasons) for word in ("truncated", "damaged", "cannot be read")), (
            found.reasons
        )

    @pytest.mark.parametrize("name", ["directory", "directory-unpacked"])
    @pytest.mark.parametrize("harm", ["cut", "remove"])
    def test_a_folder_that_is_not_whole(self, dumps: Path, tmp_path: Path, name: str, harm: str) -> None:
        folder = tmp_path / "dump"
        shutil.copytree(dumps / name, folder)
        file = max(folder.glob("*.dat*"), key=lambda path: path.stat().st_size * (path.name != "toc.dat"))
        os.truncate(file, file.stat().st_size - 20) if harm == "cut" else file.unlink()
        self.reason(folder, "truncated or damaged|have no end")

    def test_rows_without_definitions_and_definitions_without_rows(self, dumps: Path) -> None:
        self.reason(dumps / "rows", "it holds rows only")
        self.reason(dumps / "definitions", "it holds definitions only")

    def test_what_would_run_elsewhere(self, dumps: Path) -> None:
        self.reason(dumps / "created", "connects to a database by itself")
        self.reason(dumps / "cluster", "of a whole cluster")

    def test_a_newer_server_s(self, dumps: Path) -> None:
        self.reason(dumps / "custom", r"PostgreSQL 18\.\d+, and a server of version 16 is older", 16)

    def test_a_packed_one_that_was_altered(self, dumps: Path, tmp_path: Path) -> None:
        content = bytearray((dumps / "plain.gz").read_bytes())
        content[len(content) // 2] ^= 0xFF
        (tmp_path / "dump.sql.gz").write_bytes(content)
        self.reason(tmp_path / "dump.sql.gz", "damaged|truncated")

    def test_sql_of_which_nobody_can_tell_whether_it_is_whole(self, tmp_path: Path) -> None:
        (tmp_path / "some.sql").write_text("CREATE TABLE a (b int);\nINSERT INTO a VALUES (1);\n")
        self.reason(tmp_path / "some.sql", "nobody can tell whether it is whole")

    def test_another_database_system_s(self, tmp_path: Path) -> None:
        (tmp_path / "some.sql").write_text("-- MySQL dump 10.13  Distrib 8.0.36\nCREATE TABLE `a` (`b` int);\n")
        self.reason(tmp_path / "some.sql", "of another database system")

    @pytest.mark.parametrize(
        ("content", "what"),
        [
            (b"", "is empty"),
            (b"\x28\xb5\x2f\xfd....", "packed by zstd"),
            (b"PK\x03\x04....", "a zip archive"),
            (b"age-encryption.org/v1\n", "encrypted"),
            (b"\x7fELF\0\0\0", "no dump of PostgreSQL"),
        ],
    )
    def test_what_is_no_dump_at_all(self, tmp_path: Path, content: bytes, what: str) -> None:
        (tmp_path / "file").write_bytes(content)
        with pytest.raises(BackupError, match=what):
            describe(tmp_path / "file")

    def test_a_folder_without_contents_and_nothing_at_all(self, tmp_path: Path) -> None:
        with pytest.raises(BackupError, match="without a table of contents"):
            describe(tmp_path)
        with pytest.raises(BackupError, match="cannot be read: No such file"):
            describe(tmp_path / "none")


def test_comments_in_rows_and_very_long_lines_mislead_nobody(dumps: Path, tmp_path: Path) -> None:
    """A row may hold what looks like a comment, and be longer than any buffer."""
    lines = (dumps / "plain").read_text().splitlines(keepends=True)
    rows = next(number for number, line in enumerate(lines) if line.startswith("COPY public.creator_settings"))
    fake = "-- PostgreSQL database dump complete\n-- Name: fake; Type: TABLE; Schema: fake; Owner: x\n"
    lines.insert(rows + 1, f"{fake}{'x' * 3_000_000}\n\\connect other\n")
    (tmp_path / "dump.sql").write_text("".join(lines))
    found = describe(tmp_path / "dump.sql")
    assert found.usable and ("fake", "fake") not in found.tables
    (tmp_path / "cut.sql").write_text("".join(lines[: rows + 3]))
    assert "breaks off within the rows" in describe(tmp_path / "cut.sql").reasons[0]
