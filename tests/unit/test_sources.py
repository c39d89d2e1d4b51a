"""Sources as they are found after an incident: absent, torn, half-written, by other hands. All of it is told."""

import json
from pathlib import Path

import pytest
from incident_folder import make_folder

from toolkit.analysis.references import Reference, Source
from toolkit.analysis.sources import read_evidence


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_folder(tmp_path)
    return tmp_path


def test_every_source_is_read_whole(folder: Path) -> None:
    evidence = read_evidence(folder)
    assert all(state.present and state.items and not state.bad and not state.problems for state in evidence.states)
    assert evidence.state(Source.LOG).items == len((folder / "service.log").read_bytes().splitlines())


def test_positions_lead_back_to_the_file(folder: Path) -> None:
    evidence = read_evidence(folder)
    lines = (folder / "service.log").read_text().splitlines()
    row = evidence.log.iloc[1000]
    assert json.loads(lines[row["position"] - 1])["path"] == row["path"]
    assert [entry.seq for entry in evidence.journal] == list(range(1, len(evidence.journal) + 1))
    assert list(evidence.requests["position"]) == list(range(1, len(evidence.requests) + 1))


@pytest.mark.parametrize(
    "missing", ["journal.jsonl", "facilitator.jsonl", "requests.parquet", "service.log", "ledger.sqlite"]
)
def test_an_absent_source_leaves_the_others(folder: Path, missing: str) -> None:
    (folder / missing).unlink()
    evidence = read_evidence(folder)
    assert [state.file for state in evidence.states if not state.present] == [missing]


def test_bad_lines_of_the_log_are_counted_and_named(folder: Path) -> None:
    lines = (folder / "service.log").read_bytes().splitlines(keepends=True)
    lines[3:3] = [b"Traceback (most recent call last):\n"]
    (folder / "service.log").write_bytes(b"".join(lines)[:-25])
    state = read_evidence(folder).state(Source.LOG)
    assert state.bad == 2 and f"lines 4, {len(lines)}" in state.problems[0]


def test_json_that_is_no_request_is_left_out_without_complaint(folder: Path) -> None:
    with (folder / "service.log").open("a") as log:
        log.write('{"at": "2026-11-24T03:02:00Z", "level": "info", "message": "stopping"}\n')
    before = len((folder / "service.log").read_bytes().splitlines())
    state = read_evidence(folder).state(Source.LOG)
    assert (state.items, state.bad) == (before - 1, 0)


def test_a_damaged_journal_is_read_as_far_as_it_goes(folder: Path) -> None:
    lines = (folder / "journal.jsonl").read_bytes().splitlines(keepends=True)
    lines[4] = lines[4].replace(b"monitor", b"MONITOR")
    lines[6] = b"\x00\xff garbage\n"
    (folder / "journal.jsonl").write_bytes(b"".join(lines))
    state = read_evidence(folder).state(Source.JOURNAL)
    assert (state.items, state.bad) == (len(lines) - 1, 1)
    assert any("was changed" in problem for problem in state.problems)


@pytest.mark.parametrize("name", ["journal.jsonl", "requests.parquet", "service.log"])
@pytest.mark.parametrize("content", [b"", b"no such format", b'{"at": 3}\n[1, 2]\nnull\n"x"\n'])
def test_rubbish_in_a_source_is_told_and_stops_nothing(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    evidence = read_evidence(folder)
    state = next(state for state in evidence.states if state.file == name)
    assert state.items == 0
    assert sum(other.items > 0 for other in evidence.states) == len(evidence.states) - 1


def test_what_is_private_in_an_error_is_masked(folder: Path) -> None:
    said = json.loads((folder / "service.log").read_text().splitlines()[0])
    message = 'Key (user_id)=(user_812) is duplicated; Failing row contains (1, "Ann"); write to ann@example.com'
    said |= {"status": 500, "error": {"type": "UniqueViolation", "message": message}}
    (folder / "service.log").write_text(json.dumps(said) + "\n")
    (told,) = read_evidence(folder).log["message"]
    assert not any(private in told for private in ("812", "Ann", "ann@"))
    assert "user_id" in told


@pytest.mark.parametrize(
    ("reference", "text"),
    [
        (Reference(Source.JOURNAL, 12), "J12"),
        (Reference(Source.LOG, 3, 3), "L3"),
        (Reference(Source.REQUESTS, 8, 11), "R8–R11"),
        (Reference(Source.REQUESTS), "R"),
    ],
)
def test_a_reference_says_where(reference: Reference, text: str) -> None:
    assert str(reference) == text
