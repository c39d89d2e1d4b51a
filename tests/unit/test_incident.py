"""An incident is what its journal says, whoever reads it."""

from pathlib import Path

import pytest

from toolkit.errors import UsageError
from toolkit.incident import Incident, State
from toolkit.playbook import Severity


@pytest.fixture
def incident(tmp_path: Path) -> Incident:
    return Incident(tmp_path)


def test_states_only_go_forward_and_repeating_changes_nothing(incident: Incident) -> None:
    incident.open(Severity.P1, ["Error rate >10%"], actor="monitor")
    assert incident.advance(State.MITIGATED, "errors stopped", actor="responder")
    assert not incident.advance(State.ACKNOWLEDGED, "late", actor="responder")
    assert not incident.advance(State.MITIGATED, "again", actor="responder")
    assert (incident.state, len(incident.journal.entries())) == (State.MITIGATED, 2)


def test_nothing_advances_that_was_not_opened(incident: Incident) -> None:
    with pytest.raises(UsageError, match="never opened"):
        incident.advance(State.RESOLVED, "hope", actor="responder")


def test_it_opens_once(incident: Incident) -> None:
    incident.open(Severity.P1, [], actor="monitor")
    with pytest.raises(UsageError, match="is open already"):
        incident.open(Severity.P0, [], actor="monitor")


def test_severity_rises_and_falls_and_the_worst_is_remembered(incident: Incident) -> None:
    incident.open(Severity.P1, ["Error rate >10%"], actor="monitor")
    assert incident.change_severity(Severity.P0, ["Data corruption or loss"], actor="monitor")
    assert not incident.change_severity(Severity.P0, ["the same"], actor="monitor")
    incident.change_severity(Severity.P2, ["calmer"], actor="monitor")
    assert (incident.severity, incident.worst_severity) == (Severity.P2, Severity.P0)


def test_two_readers_agree(incident: Incident, tmp_path: Path) -> None:
    incident.open(Severity.P1, [], actor="monitor")
    other = Incident.at(tmp_path)
    other.advance(State.ACKNOWLEDGED, "mine", actor="responder")
    assert incident.state is State.ACKNOWLEDGED
    assert incident.moment(State.ACKNOWLEDGED) >= incident.moment(State.OPEN)


def test_a_folder_without_a_journal_is_no_incident(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no incident"):
        Incident.at(tmp_path / "elsewhere")
