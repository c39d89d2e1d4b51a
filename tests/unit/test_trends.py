"""Few figures claim little; each drill is one point; drills and incidents are counted apart."""

import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.analysis.few_figures import LEAST, middle, paired
from toolkit.analysis.history import read_history
from toolkit.analysis.trends import by_scenario, metrics, parts, since_last_version, summary
from toolkit.incident import FACILITATOR_FILE, Incident, State
from toolkit.journal import Journal
from toolkit.playbook import Severity
from toolkit.report.trend_figures import parts_of_drills, times_by_scenario

seconds = st.floats(min_value=0, max_value=1e4)


@settings(max_examples=25)
@given(st.lists(seconds, min_size=LEAST, max_size=40))
def test_the_interval_holds_the_median_and_lies_within_the_figures(values: list[float]) -> None:
    found = middle(values)
    assert found.low is not None and found.high is not None and found.median is not None
    assert min(values) <= found.low <= found.median <= found.high <= max(values)
    assert middle(random.Random(0).sample(values, len(values))).median == pytest.approx(found.median)


@given(st.lists(seconds, max_size=LEAST - 1))
def test_too_few_have_no_interval_and_it_is_said_how_many_more_it_takes(values: list[float]) -> None:
    found = middle(values)
    assert found.low is None and found.needed == LEAST - len(values)
    assert found.told() == "none" if not values else f"{found.needed} more needed" in found.told()


@settings(max_examples=25)
@given(st.lists(st.tuples(seconds, seconds), max_size=30))
def test_pairs_turned_round_turn_the_verdict(pairs: list[tuple[float, float]]) -> None:
    before, after = [each[0] for each in pairs], [each[1] for each in pairs]
    one, other = paired(before, after), paired(after, before)
    assert (one.slower, one.quicker, one.chance) == (other.quicker, other.slower, other.chance)
    turned = {"slower": "quicker", "quicker": "slower"}
    assert other.verdict == turned.get(one.verdict, one.verdict)


@pytest.mark.parametrize(
    ("slower", "quicker", "verdict"),
    [
        (5, 0, "too few pairs to tell, 1 more needed"),
        (6, 0, "slower"),  # 2 / 2**6 = 0.03
        (7, 1, "no difference that chance would not explain"),  # 0.07
        (8, 1, "slower"),  # 0.04
        (0, 9, "quicker"),
    ],
)
def test_a_difference_is_claimed_where_chance_does_not_explain_it(slower: int, quicker: int, verdict: str) -> None:
    assert paired([10.0] * (slower + quicker), [11.0] * slower + [9.0] * quicker).verdict == verdict


def drill(folder: Path, scenario: str, seed: int, resolve_s: float | None, *, version: str = "1.0", **more) -> None:
    folder.mkdir(parents=True)
    journal = Journal(folder / FACILITATOR_FILE, folder.name)
    journal.append("drill.started", {}, actor="facilitator")
    journal.append("drill.ended", {"exit_code": 0 if resolve_s else 1}, actor="facilitator")
    incident = Incident(folder)
    incident.open(Severity.P1, ["requests fail"], actor="monitor")
    incident.record("plan.made", {"plan": "a", "execute": True}, actor="drill")
    if resolve_s:
        incident.record("plan.done", {"plan": "a"}, actor="runner")
    score = {"scenario": scenario, "seed": seed, "outcome": "resolved" if resolve_s else "detected", "version": version}
    score |= {"time_to_detect_s": 2.0, "time_to_resolve_s": resolve_s, "phases": {"assess": 4.0, "roll back": 15.0}}
    (folder / "score.json").write_text(json.dumps(score | more))


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    for seed in range(1, 8):
        drill(tmp_path / f"early-{seed}", "lock-queue", seed, 20.0)
        drill(tmp_path / f"late-{seed}", "lock-queue", seed, 21.0 + seed, version="1.1")
    drill(tmp_path / "failed", "bad-deployment", 1, None)
    drill(tmp_path / "cut", "bad-deployment", 2, None, outcome="interrupted")
    real = tmp_path / "incidents" / "real"
    real.mkdir(parents=True)
    incident = Incident(real)
    incident.open(Severity.P0, ["requests fail"], actor="monitor")
    incident.advance(State.RESOLVED, "verified", actor="responder")
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "score.json").write_text('{"scenario": "lock')
    return tmp_path


def test_drills_and_incidents_are_counted_apart_and_none_is_lost_or_doubled(reports: Path) -> None:
    history = read_history([reports, reports / "nowhere"])
    assert history.events["kind"].value_counts().to_dict() == {"drill": 15, "incident": 1}
    assert len(history.unread) == 2 and any("torn" in each for each in history.unread)
    rates = {row["metric"]: row for row in metrics(history)}
    assert rates["rollback success rate"]["drills"] == "93% (14 of 15)"
    assert rates["rollback success rate"]["incidents"] == "none"
    assert "5 more needed" in str(rates["time to resolution"]["incidents"])
    assert [row["count"] for row in summary(history)][:2] == [15, 1]
    assert {row["scenario"]: row["passed"] for row in by_scenario(history)} == {
        "bad-deployment": "0 of 1",
        "lock-queue": "14 of 14",
    }


def test_what_became_slower_is_told_by_pairs_of_the_same_drill(reports: Path) -> None:
    history = read_history([reports])
    rows = {row["scenario"]: row for row in since_last_version(history)}
    assert (rows["lock-queue"]["pairs"], rows["lock-queue"]["verdict"]) == (7, "slower")
    history.events["version"] = "1.0"
    assert since_last_version(history) == []


def test_the_longest_part_comes_first_and_pictures_show_every_drill(reports: Path) -> None:
    history = read_history([reports])
    assert [row["part"] for row in parts(history)] == ["roll back", "assess"]
    assert "15 drills of 2 scenarios, of which 1 did not pass" in times_by_scenario(history).alt
    assert "longest: roll back" in parts_of_drills(history).alt
    assert times_by_scenario(history).svg.count("<use ") >= 15 + 14  # detected: all; resolved: all but one


def test_nothing_is_nothing_and_no_error(tmp_path: Path) -> None:
    history = read_history([tmp_path])
    assert not len(history.events) and not parts(history) and not by_scenario(history)
    assert times_by_scenario(history).svg and parts_of_drills(history).svg
