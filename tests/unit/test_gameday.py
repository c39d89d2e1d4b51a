"""A game day's plan, lever, hints and score: drawn from the seed, given away by nothing, help told apart from times."""

import json
import random
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
from ledger_book import ERROR, NOON, OK, Book

from toolkit.cli import main
from toolkit.clock import utc_now, wait_until
from toolkit.drill import lever
from toolkit.drill.gameday import place
from toolkit.drill.gameday.board import Board
from toolkit.drill.gameday.combining import on_top, touched, why_not
from toolkit.drill.gameday.figures import ANSWER, HINT, with_help
from toolkit.drill.gameday.hints import answer_rows, hints_of
from toolkit.drill.gameday.levels import Difficulty, level, never_drawn, pool
from toolkit.drill.gameday.place import GameDayState
from toolkit.drill.gameday.planning import Plan, Wish, draw
from toolkit.drill.gameday.steps import steps
from toolkit.drill.gameday.watching import lately
from toolkit.drill.line import Drill
from toolkit.drill.scenario import load_scenario, scenario_names
from toolkit.drill.score import score_drill
from toolkit.errors import UsageError
from toolkit.incident import FACILITATOR_FILE, Incident, State
from toolkit.journal import Journal
from toolkit.playbook import Severity, load_playbook

EVERY = [load_scenario(name) for name in scenario_names()]


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A runtime folder of its own: the lever of a test must stop nobody else's drill."""
    folder = tmp_path / "runtime"
    folder.mkdir()
    for module in (lever, place):
        monkeypatch.setattr(module, "runtime_home", lambda: folder)
    return folder


def plan_of(**wish: object) -> Plan:
    return draw(Wish.model_validate({"seed": 7} | wish), Path("somewhere"))


def test_the_same_seed_draws_the_same_and_others_draw_others() -> None:
    assert plan_of() == plan_of()
    plans = [plan_of(seed=seed, difficulty="hard") for seed in range(40)]
    assert len({plan.scenario for plan in plans}) > 4 and len({plan.breaks_after_s for plan in plans}) == 40
    assert len({each.scenario for plan in plans for each in plan.injects}) > 2


def test_it_breaks_within_the_span_that_was_asked_for() -> None:
    moments = [plan_of(seed=seed, within_s=(30, 40)).breaks_after_s for seed in range(50)]
    assert min(moments) >= 30 and max(moments) <= 40 and max(moments) - min(moments) > 5
    first, last = level(Difficulty.EASY).within_s
    assert first <= plan_of(difficulty="easy").breaks_after_s <= last


@pytest.mark.parametrize("difficulty", list(Difficulty))
def test_each_difficulty_draws_from_its_own_scenarios(difficulty: Difficulty) -> None:
    drawn = {plan_of(seed=seed, difficulty=difficulty, injects=0).scenario for seed in range(60)}
    assert len(pool(difficulty)) > 3 and drawn <= set(pool(difficulty)) and len(drawn) > 2


def test_every_scenario_is_in_one_pool_and_every_name_is_a_scenarios() -> None:
    pools = [name for each in Difficulty for name in pool(each)]
    assert sorted([*pools, *never_drawn()]) == scenario_names()
    assert {name for each in Difficulty for name in level(each).scenarios} <= set(scenario_names())


def test_a_hidden_one_tells_nothing_and_a_shown_one_what_its_level_tells() -> None:
    assert plan_of(scenario="lock-queue", hidden=True).told() == {}
    told = plan_of(scenario="lock-queue", difficulty="easy").told()
    assert told == {"title": "A queue behind a forgotten transaction", "severity": "P0", "signal": "health"}
    assert plan_of(difficulty="hard").hidden and not plan_of().hidden


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"seed": -1}, "-1 is no seed"),
        ({"scenario": "no-such"}, "There is no scenario 'no-such'"),
        ({"within_s": (60, 30)}, "60-30 is no span of time"),
        ({"within_s": (0, 9999)}, "0-9999 is no span of time"),
        ({"injects": 4}, "4 injects are not possible"),
        ({"scenario": "database-down", "injects": 1}, "There are not 1 faults that can come on top of database-down"),
    ],
)
def test_what_cannot_be_is_said_before_anything_starts(wish: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        plan_of(**wish)


def test_an_error_about_a_drawn_scenario_does_not_name_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolkit.drill.gameday.planning.on_top", lambda *_: [])
    with pytest.raises(UsageError) as refused:
        plan_of(difficulty="hard", injects=1)
    assert not [name for name in scenario_names() if name in str(refused.value)]


def test_a_fault_comes_on_top_only_where_it_touches_nothing_that_is_broken() -> None:
    migration, code = load_scenario("corrupting-migration"), load_scenario("bad-deployment")
    assert why_not([migration], code) == "" and code.name in on_top([migration])
    assert why_not([load_scenario("breaking-migration")], code) == "the deployment is broken already"
    assert why_not([migration], load_scenario("dropped-table")) == "the schema is broken already"
    assert on_top([load_scenario("database-down")]) == []
    assert "another size" in why_not([code], load_scenario("dropped-index"))
    for each in EVERY:
        assert touched(each) and each.name not in on_top([each])


def test_hints_come_nearer_to_the_answer_and_have_the_cost_of_their_level() -> None:
    scenario = load_scenario("bad-deployment")
    hints = hints_of([scenario, load_scenario("lock-queue")], level(Difficulty.HARD))
    assert [hint.cost_s for hint in hints] == [60, 120, 240] * 2
    signal, kind, answer = (hint.text for hint in hints[:3])
    assert scenario.signal in signal and "application" in kind and scenario.right_answers[0].what in answer
    assert "application" not in signal and "Fault 2 of 2" in hints[3].text
    assert {row["by the key"] for row in answer_rows([scenario])} == {"right", "wrong"}


def test_while_the_lever_is_held_nothing_is_broken_and_no_drill_starts(tmp_path: Path) -> None:
    lever.expect_released()
    assert lever.hold("Jo", "production has an incident").by == lever.hold("Ann", "me too").by == "Jo"
    drill = Drill(load_scenario("bad-deployment"), 1, tmp_path / "drill")
    for forbidden in (drill.start, drill.break_it):
        with pytest.raises(UsageError, match=r"held since .* by Jo \(production has an incident\)"):
            forbidden()
    assert not (tmp_path / "drill").exists()
    assert lever.release() is not None and lever.release() is None
    lever.expect_released()


def test_a_lever_whose_file_is_damaged_holds(runtime: Path) -> None:
    (runtime / "faults-held.json").write_text("{")
    with pytest.raises(UsageError, match="cannot be read"):
        lever.expect_released()


def facilitators(folder: Path, *, hints: int) -> Journal:
    journal = Journal(folder / FACILITATOR_FILE, folder.name)
    journal.append("fault.begun", {"faults": []}, actor="facilitator")
    for number in range(hints):
        journal.append(HINT, {"number": number + 1, "cost_s": 60.0}, actor="facilitator")
    return journal


def played(folder: Path) -> Incident:
    incident = Incident(folder)
    incident.open(Severity.P1, ["requests fail"], actor="monitor")
    incident.record("plan.made", {"kind": "application", "execute": True}, actor="responder")
    incident.advance(State.RESOLVED, "all passed", actor="responder")
    return incident


def test_help_is_a_figure_of_its_own_and_changes_no_time(tmp_path: Path) -> None:
    plan = plan_of(scenario="bad-deployment", hidden=True)
    journal = facilitators(tmp_path, hints=2)
    journal.append(ANSWER, {}, actor="facilitator")
    played(tmp_path)
    score = score_drill(tmp_path, plan.scenario, plan.seed, None, {}, None)
    entries = journal.entries()
    helped = with_help(score, plan, [load_scenario(plan.scenario)], entries, entries[0].at)
    assert (helped.game_day.hints, helped.game_day.hints_cost_s) == (2, 120.0)
    assert helped.game_day.answer_seen_s is not None
    assert helped.model_dump(exclude={"game_day"}) == score.model_dump()
    rows = {row["figure"]: row["value"] for row in helped.rows()}
    assert rows["hints / their cost"] == "2 / 120 s, in no time above"
    alone = with_help(score, plan, [load_scenario(plan.scenario)], entries[:1], entries[0].at)
    assert (alone.game_day.hints, alone.game_day.answer_seen_s) == (0, None)


def test_of_two_faults_each_is_judged_by_its_own_key(tmp_path: Path) -> None:
    facilitators(tmp_path, hints=0)
    played(tmp_path)
    score = score_drill(tmp_path, "corrupting-migration", 1, None, {}, None)
    faults = [load_scenario("corrupting-migration"), load_scenario("bad-deployment")]
    found = with_help(score, plan_of(), faults, [], None)
    assert [(each.scenario, each.verdict) for each in found.game_day.faults] == [
        ("corrupting-migration", "wrong"),
        ("bad-deployment", "right"),
    ]
    assert found.decision.verdict == "wrong"


def test_what_to_do_next_follows_the_journal(tmp_path: Path) -> None:
    incident = Incident(tmp_path)
    assert not any(each.done for each in steps(incident.journal.entries(), ended=False))
    incident.open(Severity.P1, ["requests fail"], actor="monitor")
    incident.record("assessment.made", {}, actor="responder")
    incident.record("verification.made", {"outcome": "fail"}, actor="responder")
    done = [each.done for each in steps(incident.journal.entries(), ended=False)]
    assert done == [True, True, False, False, False, False, False]


def test_the_last_seconds_are_counted_in_bins_and_the_one_that_goes_on_is_left_out(tmp_path: Path) -> None:
    book = Book(tmp_path / "ledger.sqlite")
    for second, outcome in ((0.5, OK), (1.0, ERROR), (4.5, OK), (6.2, OK)):
        book.read(outcome, at=second, until=second + 0.01)
    found = lately(book.path, NOON + timedelta(seconds=7), 60, 2)
    assert found["per_s"].tolist() == [1.0, 0.0, 0.5]
    assert found["failed_share"].tolist()[0] == 0.5 and found["failed_share"].isna().tolist() == [False, True, False]
    assert found["begin"].iloc[0] == NOON
    nothing = lately(tmp_path / "none.sqlite", utc_now(), 60, 2)
    assert nothing.empty and list(nothing.columns) == ["begin", "per_s", "failed_share", "p95_ms"]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]):
    def call(*words: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(["gameday", *words])
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out + err

    return call


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("start", "--difficulty", "deadly"), "use easy, medium, hard"),
        (("start", "--within", "soon"), "give seconds as MIN-MAX"),
        (("start", "--seed", "-3"), "-3 is no seed"),
        (("start", "--scenario", "no-such"), "There is no scenario 'no-such'"),
        (("inject", "no-such"), "There is no scenario 'no-such'"),
        *(
            (words, "No game day is running")
            for words in (("hint",), ("answer",), ("inject",), ("status",), ("finish",))
        ),
    ],
)
def test_wrong_words_start_nothing_and_leave_no_traceback(run, words: tuple[str, ...], said: str) -> None:
    code, told = run(*words)
    assert code == 2 and said in told and "Traceback" not in told


def test_the_lever_can_be_pulled_while_nothing_runs(run) -> None:
    code, told = run("abort", "--reason", "a release", "--json")
    assert code == 0 and json.loads(told)["folder"] is None
    code, told = run("start", "--scenario", "bad-deployment")
    assert code == 2 and "toolkit gameday release" in told
    code, told = run("release")
    assert code == 0 and "a release" in told


def test_a_random_moment_is_drawn_before_the_scenario(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a scenario that is named breaks at the moment that the seed has, too."""
    span = level(Difficulty.MEDIUM).within_s
    wanted = round(random.Random(7).uniform(*span), 3)
    assert plan_of().breaks_after_s == plan_of(scenario="lock-queue").breaks_after_s == wanted


@pytest.fixture
def running(tmp_path: Path) -> Iterator[GameDayState]:
    """One that runs, as far as anybody can see: its director is this process."""
    me, folder = psutil.Process(), tmp_path / "played"
    folder.mkdir()
    incident = Incident(folder)
    incident.open(Severity.P0, ["requests fail"], actor="monitor")
    how = {"port": 9, "key": "00", "sandbox": "none", "difficulty": "hard", "hidden": True, "since": utc_now()}
    state = GameDayState.model_validate({"pid": me.pid, "started": me.create_time(), "folder": folder} | how)
    state.write()
    yield state
    state.end()


def test_the_board_goes_on_by_itself_until_it_is_stopped(running: GameDayState) -> None:
    board = Board("responder", load_playbook())
    assert "Incident open" in board.clock.value and bytes(board.chart.value).startswith(b"\x89PNG")
    assert "▶ <b>Acknowledge and assess it</b>" in board.next.value
    before = board.clock.value
    board.start()
    wait_until(lambda: board.clock.value != before, within=20, what="the clock to move")
    Incident(running.folder).record("assessment.made", {}, actor="responder")
    wait_until(lambda: "✓ Acknowledge" in board.next.value, within=20, what="the step to be done")
    board.stop()
    assert not board.running
    board.stop()


def test_the_board_ends_with_the_game_day_and_what_is_refused_is_shown_on_it(running: GameDayState) -> None:
    board = Board("responder", load_playbook()).start()
    board.hint.click()
    assert "director ended meanwhile" in board.told.value, "nobody listens at that port"
    board.finish.click()
    assert "The incident is not resolved" in board.told.value and board.sure.layout.display == ""
    running.end()
    wait_until(lambda: not board.running, within=20, what="the board to stop")
    assert "ended" in board.clock.value and board.hint.disabled and board.finish.disabled
