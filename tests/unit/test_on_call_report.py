"""The post-mortem says how bad it was said to be, by whom, whether somebody answered in time, who was to be called."""

from pathlib import Path

import pytest
from incident_folder import Pen

from toolkit.analysis.model import analyse
from toolkit.playbook import load_playbook
from toolkit.report import write_postmortem

PLAYBOOK = load_playbook(Path(__file__).parents[2] / "playbook.toml")


def section(folder: Path) -> str:
    text = write_postmortem(analyse(folder, PLAYBOOK)).markdown.read_text()
    return text.partition("### Severity and response")[2].partition("### Updates")[0]


@pytest.fixture
def pen(tmp_path: Path) -> Pen:
    return Pen(tmp_path / "journal.jsonl")


def test_a_drills_severities_clock_and_calls_are_told_with_its_scale(pen: Pen, tmp_path: Path) -> None:
    pen(0, "monitor", "monitor.started", {"target": "sandbox", "minute_s": 1.0})
    pen(10, "monitor", "incident.opened", {"severity": "P1", "reasons": ["Error rate >10%: 31 of 142 failed"]})
    told = {"severity": "P1", "minute_s": 1.0, "without_number": []}
    pen(10, "monitor", "escalation.due", told | {"level": 1, "roles": ["DevOps Lead"], "after_minutes": 0.0})
    late = {"level": 2, "roles": ["CTO", "VP Engineering"], "after_minutes": 15.0, "without_number": ["CTO"]}
    pen(25, "monitor", "escalation.due", told | late)
    pen(30, "DevOps Lead", "incident.acknowledged", {"from": "open", "why": "on it"})
    pen(31, "alice", "role.taken", {"role": "lead", "who": "DevOps Lead", "who_before": None})
    pen(32, "alice", "role.taken", {"role": "scribe", "who": "bob", "who_before": None})
    pen(40, "alice", "incident.severity", {"from": "P1", "to": "P0", "reasons": ["Amounts are wrong"]})
    said = section(tmp_path)
    assert "| P1 | the monitor | Error rate " in said
    assert "| P0 | the responder | Amounts are wrong |" in said
    assert "Time was scaled: a minute of the playbook took 1.0 s here [" in said
    assert "Acknowledged by the DevOps Lead 20.0 s after the opening; P1 wants it within 15.0 s, 5.0 s late [" in said
    assert "At once: to be called were DevOps Lead [" in said
    assert "Nobody had answered after 15 min (15.0 s here): to be called were CTO and VP Engineering; the" in said
    assert "no number of CTO [" in said
    assert "Incident lead: the DevOps Lead [" in said and "Scribe: the responder [" in said
    assert "alice" not in said and "bob" not in (tmp_path / "postmortem.md").read_text()


def test_what_nobody_answered_is_said(pen: Pen, tmp_path: Path) -> None:
    pen(10, "DevOps Lead", "incident.opened", {"severity": "P2", "reasons": ["users see nothing"]})
    said = section(tmp_path)
    assert "| P2 | the DevOps Lead | users see nothing |" in said
    assert "Nobody had answered when the evidence ends [" in said and "scaled" not in said


def test_without_an_incident_nothing_is_said(pen: Pen, tmp_path: Path) -> None:
    pen(0, "monitor", "monitor.started", {"target": "sandbox", "minute_s": 1.0})
    assert "Response: not measured" in section(tmp_path)
