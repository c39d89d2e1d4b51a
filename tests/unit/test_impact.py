"""Impact figures against counts made by hand, and against the ledger's own definition of down and degraded."""

from pathlib import Path

import pandas as pd
import pytest
from incident_folder import CONSTRAINT, NEW, OLD, WEBHOOK, Truth, at, make_folder

from toolkit.analysis import Analysis, analyse
from toolkit.analysis.impact import _bad_seconds, over_time
from toolkit.analysis.phases import Mark
from toolkit.analysis.sources import finish_requests
from toolkit.drill.ledger import Ledger, Outcome, downtime, export_requests
from toolkit.playbook import Playbook, load_playbook


@pytest.fixture(scope="module")
def playbook() -> Playbook:
    return load_playbook(Path(__file__).parents[2] / "playbook.toml")


@pytest.fixture
def truth(tmp_path: Path) -> Truth:
    return make_folder(tmp_path)


@pytest.fixture
def analysis(tmp_path: Path, truth: Truth, playbook: Playbook) -> Analysis:
    return analyse(tmp_path, playbook)


def test_windows_split_the_requests_without_losing_one(analysis: Analysis, truth: Truth) -> None:
    windows = analysis.impact.windows
    assert [window.name for window in windows] == ["before", "during", "after"]
    assert sum(window.requests for window in windows) == truth.requests
    assert sum(window.failed for window in windows) == truth.failed
    assert analysis.impact.window("during").error_rate > 0.1 > analysis.impact.window("before").error_rate


def test_counts_are_those_of_the_file(analysis: Analysis, tmp_path: Path) -> None:
    frame = pd.read_parquet(tmp_path / "requests.parquet")
    during = analysis.impact.window("during")
    part = frame.iloc[during.reference.first - 1 : during.reference.last]
    assert len(part) == during.requests
    assert int((part["status"].isna() | (part["status"] >= 500)).sum()) == during.failed
    answered = part.loc[part["status"].notna(), "ms"]
    assert during.latency_ms["p95"] == pytest.approx(answered.quantile(0.95))


def test_without_an_onset_there_is_one_window(tmp_path: Path, playbook: Playbook) -> None:
    make_folder(tmp_path, truth=Truth(onset_s=500.0, recovery_s=500.0))
    assert [window.name for window in analyse(tmp_path, playbook).impact.windows] == ["all"]


def test_error_classes_name_what_broke(analysis: Analysis, tmp_path: Path) -> None:
    logged = analysis.impact.logged[0]
    assert (logged.how, logged.path, logged.sqlstate, logged.constraint) == ("500", WEBHOOK, "23514", CONSTRAINT)
    assert logged.count == (tmp_path / "service.log").read_text().count('"status": 500')
    met = {failure.how for failure in analysis.impact.failures}
    assert met == {"500", "ReadTimeout"}, "a sender sees what a log cannot: requests without an answer"


def test_deployments_are_told_apart(analysis: Analysis) -> None:
    shares = {share.deployment: share for share in analysis.impact.deployments}
    assert list(shares) == [OLD, NEW]
    assert shares[NEW].failed / shares[NEW].requests > 0.1
    assert at(20) < shares[NEW].first < at(22) and at(55) < shares[NEW].last < at(57)


def test_the_series_has_every_second_and_no_invented_rate(analysis: Analysis) -> None:
    series = analysis.impact.per_second
    assert series["begin"].diff().dropna().dt.total_seconds().eq(1).all()
    frame = finish_requests(_frame([(0.1, 200, 5, "webhook"), (3.2, 500, 7, "webhook")]))
    gaps = over_time(frame)
    assert list(gaps["requests"]) == [1, 0, 0, 1] and list(gaps["failed"]) == [0, 0, 0, 1]
    assert gaps["error_rate"].isna().tolist() == [False, True, True, False]


def _frame(rows: list[tuple[float, int | None, float, str]]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "position": range(1, len(rows) + 1),
            "at": pd.to_datetime([at(second) for second, *_ in rows], utc=True).astype("datetime64[us, UTC]"),
            "kind": [kind for *_, kind in rows],
            "status": [status for _, status, _, _ in rows],
            "ms": [ms for _, _, ms, _ in rows],
            "error": [None if status else "ReadTimeout" for _, status, _, _ in rows],
        }
    )


def test_a_service_that_hangs_is_down_while_requests_wait() -> None:
    hanging = [(0.1 * n, None, 4000.0, "webhook") for n in range(5)]
    assert _bad_seconds(finish_requests(_frame(hanging)), None, 0.1) == (5, 0)


def test_a_second_with_two_requests_shows_nothing() -> None:
    assert _bad_seconds(finish_requests(_frame([(0.1, 500, 5, "webhook"), (0.2, 500, 5, "webhook")])), None, 0.1) == (
        0,
        0,
    )


def test_down_and_degraded_agree_with_the_senders_ledger(tmp_path: Path) -> None:
    """One definition, written twice: in SQL over the ledger, and here over its export."""
    moments = iter([at(n / 40) for n in range(100_000)])
    with Ledger(tmp_path / "ledger.sqlite", clock=lambda: next(moments)) as ledger:
        for number in range(600):
            request = ledger.begin_request("webhook" if number % 4 else "read", "POST", "/")
            failing = 100 < number < 160 or (300 < number < 450 and number % 5 == 0)
            ledger.finish(request, Outcome(500 if failing else 200, ms=25.0))
    export_requests(tmp_path / "ledger.sqlite", tmp_path / "requests.parquet")
    frame = pd.read_parquet(tmp_path / "requests.parquet")
    frame.insert(0, "position", range(1, len(frame) + 1))
    expected = downtime(tmp_path / "ledger.sqlite")
    assert expected.downtime_s and expected.degraded_s
    assert _bad_seconds(finish_requests(frame), None, 0.1) == (expected.downtime_s, expected.degraded_s)
    half = downtime(tmp_path / "ledger.sqlite", since=at(10))
    assert _bad_seconds(finish_requests(frame), at(10), 0.1) == (half.downtime_s, half.degraded_s)


def test_downtime_counts_from_the_fault(analysis: Analysis, truth: Truth) -> None:
    assert analysis.phases.at(Mark.FAULT) == at(truth.onset_s - 0.3)
    assert 15 <= analysis.impact.degraded_s <= truth.recovery_s - truth.onset_s + 1


def test_tables_are_for_people(analysis: Analysis) -> None:
    for table in (
        analysis.phases_table(),
        analysis.durations_table(),
        analysis.timeline_table(),
        analysis.impact_table(),
        analysis.failures_table(),
    ):
        assert len(table) and table["evidence"].astype(bool).all()
