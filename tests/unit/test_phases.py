"""Phases against folders whose truth is known, and what is said where the evidence is thin or contradicts itself."""

from datetime import timedelta
from pathlib import Path

import pytest
from incident_folder import Pen, Truth, at, make_folder, write_journal, write_requests

from toolkit.analysis import Analysis, analyse
from toolkit.analysis.phases import Mark
from toolkit.analysis.references import Source
from toolkit.analysis.telling import EventKind
from toolkit.playbook import Playbook, load_playbook

SECOND = timedelta(seconds=1)


@pytest.fixture(scope="session")
def playbook() -> Playbook:
    return load_playbook(Path(__file__).parents[2] / "playbook.toml")


@pytest.fixture
def truth(tmp_path: Path) -> Truth:
    return make_folder(tmp_path)


@pytest.fixture
def analysis(tmp_path: Path, truth: Truth, playbook: Playbook) -> Analysis:
    return analyse(tmp_path, playbook)


def test_each_moment_is_where_it_was(analysis: Analysis, truth: Truth) -> None:
    at_mark = analysis.phases.at
    assert abs(at_mark(Mark.BEGAN) - at(truth.onset_s)) < SECOND
    assert abs(at_mark(Mark.RECOVERED) - at(truth.recovery_s)) < SECOND
    assert at_mark(Mark.DETECTED) == at(truth.detected_s)
    assert at_mark(Mark.ACKNOWLEDGED) == at(truth.acknowledged_s)
    assert at_mark(Mark.MITIGATED) == at(truth.mitigated_s)
    assert at_mark(Mark.RESOLVED) == at(truth.resolved_s)
    assert not analysis.phases.conflicts


def test_the_onset_has_an_interval_that_holds_it(analysis: Analysis, truth: Truth) -> None:
    began = analysis.phases.moments[Mark.BEGAN]
    assert began.earliest <= at(truth.onset_s) <= began.latest + SECOND / 4
    assert began.latest - began.earliest < 3 * SECOND
    assert began.references[0].source is Source.REQUESTS


def test_durations_count_from_the_impact(analysis: Analysis, truth: Truth) -> None:
    assert analysis.phases.duration("time to detect") == pytest.approx(truth.detected_s - truth.onset_s, abs=0.5)
    assert analysis.phases.duration("time to resolve") == pytest.approx(truth.resolved_s - truth.onset_s, abs=0.5)


@pytest.mark.parametrize("seed", range(5))
def test_another_onset_is_found_as_well(tmp_path: Path, playbook: Playbook, seed: int) -> None:
    truth = make_folder(tmp_path, truth=Truth(onset_s=24.0, recovery_s=55.0), seed=seed)
    analysis = analyse(tmp_path, playbook)
    assert abs(analysis.phases.at(Mark.BEGAN) - at(truth.onset_s)) < 2 * SECOND
    assert abs(analysis.phases.at(Mark.RECOVERED) - at(truth.recovery_s)) < 2 * SECOND


def test_the_services_log_serves_where_no_sender_recorded(tmp_path: Path, truth: Truth, playbook: Playbook) -> None:
    (tmp_path / "requests.parquet").unlink()
    analysis = analyse(tmp_path, playbook)
    began = analysis.phases.moments[Mark.BEGAN]
    assert abs(began.at - at(truth.onset_s)) < SECOND and began.references[0].source is Source.LOG


def test_without_requests_the_impact_began_at_the_latest_with_the_signal(tmp_path, truth, playbook) -> None:
    (tmp_path / "requests.parquet").unlink()
    (tmp_path / "service.log").unlink()
    began = analyse(tmp_path, playbook).phases.moments[Mark.BEGAN]
    assert began.at == at(truth.detected_s - 0.2) and "at the latest" in began.how
    assert began.references[0].source is Source.JOURNAL and began.earliest is None


def test_a_clean_series_gives_no_onset(tmp_path: Path, playbook: Playbook) -> None:
    write_requests(tmp_path, Truth(onset_s=200, recovery_s=200), seed=3)
    moments = analyse(tmp_path, playbook).phases.moments
    assert moments[Mark.BEGAN].at is None and moments[Mark.RECOVERED].at is None
    assert "chance" in moments[Mark.BEGAN].how or "none of" in moments[Mark.BEGAN].how


def test_what_never_came_is_not_there(tmp_path: Path, playbook: Playbook) -> None:
    pen = Pen(tmp_path / "journal.jsonl")
    pen(1, "monitor", "incident.opened", {"severity": "P1", "reasons": []})
    phases = analyse(tmp_path, playbook).phases
    assert phases.at(Mark.DETECTED) == at(1)
    for mark in (Mark.BEGAN, Mark.ACKNOWLEDGED, Mark.MITIGATED, Mark.RESOLVED):
        assert phases.at(mark) is None and phases.moments[mark].how
    assert phases.duration("time to resolve") is None


def test_a_mitigation_that_came_too_early_is_a_conflict(tmp_path: Path, playbook: Playbook) -> None:
    make_folder(tmp_path, truth=Truth(recovery_s=70.0, mitigated_s=62.4))
    conflicts = analyse(tmp_path, playbook).phases.conflicts
    assert any("before the errors ended" in conflict.what and conflict.references for conflict in conflicts)


def test_an_incident_opened_before_the_onset_is_a_conflict_and_no_negative_duration(tmp_path, playbook) -> None:
    write_requests(tmp_path, Truth(onset_s=40.0), seed=1)
    write_journal(tmp_path, Truth(onset_s=20.0), operator="alice")
    phases = analyse(tmp_path, playbook).phases
    assert phases.duration("time to detect") is None
    assert any("before the requests show an onset" in conflict.what for conflict in phases.conflicts)


def test_the_timeline_is_in_order_and_cites_everything(analysis: Analysis) -> None:
    times = [event.at for event in analysis.timeline]
    assert times == sorted(times) and len(times) > 20
    assert all(event.references for event in analysis.timeline)
    marks = [event.mark for event in analysis.timeline if event.mark]
    assert marks == sorted(marks, key=list(Mark).index) and len(marks) == len(set(marks)) == 7


def test_the_timeline_tells_roles_and_leaves_out_noise(analysis: Analysis) -> None:
    assert {"responder", "monitor", "runner", "traffic"} <= {event.actor for event in analysis.timeline}
    assert not any("alice" in f"{event.actor} {event.sentence}" for event in analysis.timeline)
    assert not any("observed" in event.sentence for event in analysis.timeline)
    assert {event.kind for event in analysis.timeline} == set(EventKind)


def test_an_unknown_kind_of_entry_is_told_by_its_name(tmp_path: Path, truth: Truth, playbook: Playbook) -> None:
    Pen(tmp_path / "journal.jsonl")(80, "scribe", "coffee.made", {"cups": 3})
    assert any("`coffee.made`" in event.sentence for event in analyse(tmp_path, playbook).timeline)


def test_activities_pair_begin_and_end(analysis: Analysis) -> None:
    steps = [each for each in analysis.activities if each.lane == "runner" and each.label == "down-9"]
    assert len(steps) == 1 and steps[0].finished and (steps[0].end - steps[0].begin).total_seconds() == 0.9


def test_an_activity_without_an_end_is_unfinished(tmp_path: Path, truth: Truth, playbook: Playbook) -> None:
    Pen(tmp_path / "journal.jsonl")(81, "runner", "step.begun", {"step": "late", "what": "Something"})
    (late,) = [each for each in analyse(tmp_path, playbook).activities if each.label == "late"]
    assert not late.finished
