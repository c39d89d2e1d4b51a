"""The journal is evidence: every way in which it can be damaged must be found, and none may stop the work."""

import errno
import json
import multiprocessing
import os
from pathlib import Path

import pytest

from toolkit.errors import JournalError
from toolkit.journal import FIELDS, Head, Journal, inspect
from toolkit.redaction import keep_secret


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.jsonl", "inc-1")


def fill(journal: Journal, count: int) -> None:
    for number in range(count):
        journal.append("step.done", {"step": number}, actor="runner")


def rewrite(journal: Journal, change) -> None:
    lines = journal.path.read_bytes().splitlines(keepends=True)
    journal.path.write_bytes(b"".join(change(lines)))


def test_an_entry_has_the_agreed_fields_in_order(journal: Journal) -> None:
    journal.append("incident.opened", {"severity": "P0"}, actor="monitor")
    line = json.loads(journal.path.read_text())
    assert tuple(line) == FIELDS
    assert line["at"].endswith("Z") and len(line["at"]) == len("2026-11-24T03:00:00.123456Z")


def test_a_whole_chain_has_no_problems(journal: Journal) -> None:
    fill(journal, 5)
    seen = inspect(journal.path, journal.head())
    assert (seen.entries, seen.problems, seen.checked_up_to) == (5, (), 5)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda lines: [lines[0], lines[1].replace(b'"step": 1', b'"step": 9'), *lines[2:]], "was changed"),
        (lambda lines: [lines[0], *lines[2:]], "missing"),
        (lambda lines: [lines[0], lines[2], lines[1], *lines[3:]], "out of order"),
        (lambda lines: [*lines[:-1], lines[-1][:-20]], "torn"),
        (lambda lines: [lines[0], b"{}\n", *lines[2:]], "no journal entry"),
        (lambda lines: [lines[0], b"[" * 100_000 + b"\n", *lines[2:]], "no journal entry"),
        (lambda lines: [lines[0], lines[1].replace(b'"seq": 2', b'"seq": Infinity'), *lines[2:]], "no journal entry"),
        (lambda lines: [lines[0], lines[1].replace(b'"runner"', b'"\\ud800"'), *lines[2:]], "no journal entry"),
    ],
)
def test_damage_is_found(journal: Journal, damage, said: str) -> None:
    fill(journal, 4)
    rewrite(journal, damage)
    assert any(said in problem for problem in inspect(journal.path).problems)


def test_a_lost_tail_shows_against_a_head_kept_elsewhere(journal: Journal) -> None:
    fill(journal, 4)
    head = journal.head()
    rewrite(journal, lambda lines: lines[:2])
    assert inspect(journal.path).problems == ()
    assert "tail is lost" in inspect(journal.path, head).problems[0]


def test_a_rewritten_history_shows_against_a_head_kept_elsewhere(journal: Journal) -> None:
    fill(journal, 3)
    assert "not the one" in inspect(journal.path, Head(2, "0" * 64)).problems[0]


def test_a_torn_tail_is_set_aside_told_and_built_upon(journal: Journal) -> None:
    fill(journal, 2)
    with journal.path.open("ab") as file:
        file.write(b'{"seq": 3, "at": "20')
    journal.append("step.done", {"step": 3}, actor="runner")
    kinds = [entry.kind for entry in journal.entries()]
    assert kinds == ["step.done", "step.done", "journal.tail_torn", "step.done"]
    kept = journal.path.parent / journal.entries()[2].data["kept_in"]
    assert kept.read_bytes() == b'{"seq": 3, "at": "20'
    assert inspect(journal.path).problems == ()


def test_the_head_is_found_behind_a_line_longer_than_a_block(journal: Journal) -> None:
    journal.append("note", {"text": "x" * 20_000}, actor="scribe")
    journal.append("note", {"text": "y" * 20_000}, actor="scribe")
    assert journal.head() == Head(2, journal.entries()[-1].hash)


def _append_many(path: Path, count: int) -> None:
    fill(Journal(path, "inc-1"), count)


def test_processes_append_one_at_a_time(journal: Journal) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_append_many, args=(journal.path, 20)) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert (len(journal.entries()), inspect(journal.path).problems) == (60, ())


def test_secrets_are_masked(journal: Journal) -> None:
    keep_secret("postgresql://toolkit:hunter2hunter2@db.example:5432/churn")
    url = "postgresql://other:swordfish@db.example/churn"
    journal.append("note", {"nested": [{"said": f"hunter2hunter2 and {url}"}]}, actor="scribe")
    text = journal.path.read_text()
    assert "hunter2hunter2" not in text and "swordfish" not in text and "***" in text


def full_disk(monkeypatch: pytest.MonkeyPatch, failures: int) -> None:
    """The next `failures` writes go half-way and fail, as on a full disk."""
    real, left = os.write, [failures]

    def write(descriptor: int, line: bytes) -> int:
        if left[0]:
            left[0] -= 1
            real(descriptor, line[: len(line) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor, line)

    monkeypatch.setattr("toolkit.journal.os.write", write)


def test_the_reserve_lets_the_last_entries_through_a_full_disk(journal: Journal, monkeypatch) -> None:
    fill(journal, 1)
    reserve = journal.path.with_suffix(".reserve")
    assert reserve.stat().st_size == 64 * 1024
    full_disk(monkeypatch, failures=1)
    journal.append("incident.mitigated", {}, actor="responder")
    assert not reserve.exists()
    assert (len(journal.entries()), inspect(journal.path).problems) == (2, ())


def test_a_disk_full_beyond_the_reserve_leaves_the_journal_as_it_was(journal: Journal, monkeypatch) -> None:
    fill(journal, 1)
    journal.path.with_suffix(".reserve").unlink()
    before = journal.path.read_bytes()
    full_disk(monkeypatch, failures=1)
    with pytest.raises(JournalError, match="make room"):
        journal.append("step.begun", {}, actor="runner")
    assert journal.path.read_bytes() == before
