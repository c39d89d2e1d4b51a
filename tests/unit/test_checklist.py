"""The lists of the playbook: word for word, answered by the journal or by people, with a gate, and due."""

import io
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from toolkit.checklist import (
    ItemState,
    Standing,
    due_items,
    load_checklists,
    open_blocking,
    override,
    standings,
    tick,
    untick,
)
from toolkit.checklist.evidence import Evidence
from toolkit.checklist.facts import FACTS
from toolkit.checklist.standing import evidence_of
from toolkit.cli import main
from toolkit.cli.blocking_items import answer_items
from toolkit.clock import utc_now
from toolkit.errors import RollbackError, UsageError
from toolkit.incident import Incident, State
from toolkit.notebook.checklists import ChecklistBoard, show_checklist, somebody_can_click
from toolkit.playbook import Severity, load_playbook
from toolkit.rollback.gate import require_items
from toolkit.rollback.plan import Plan, RunDown, Step

ROOT = Path(__file__).parents[2]
BOOK = load_playbook(ROOT / "playbook.toml")
LISTS = load_checklists(BOOK)
PLAN = Plan("migration", "churn-saver", "sandbox", None, "Back to version 8", ())
BOXES = 57


@pytest.fixture
def incident(tmp_path: Path) -> Incident:
    found = Incident(tmp_path / "incident")
    found.folder.mkdir()
    found.open(Severity.P0, ["Complete service outage"], actor="monitor")
    return found


def of(incident: Incident, id: str, planned: Mapping[str, Any] | None = None) -> Standing:
    return next(s for s in standings(LISTS, evidence_of(incident, BOOK, planned)) if s.item.id == id)


def assessed(incident: Incident) -> None:
    scope = {"requests": 40, "error_rate": 0.5}
    ranked = [{"cause": "a migration", "confidence": "strong"}]
    incident.record("assessment.made", {"scope": scope, "hypotheses": ranked}, actor="responder")


def rehearsed(incident: Incident, outcome: str = "pass") -> None:
    steps = [{"step": "down-9", "seconds": 1.5}]
    why = "" if outcome == "pass" else "the down fails"
    made = {"plan": PLAN.id, "outcome": outcome, "why": why, "steps": steps}
    incident.record("rehearsal.made", made, actor="responder")


def verified(incident: Incident, **outcomes: str) -> None:
    names = {"loads": ("/dashboard loads", "service"), "policies": ("row-level security", "security")}
    checks = [
        {"name": name, "area": area, "outcome": outcomes.get(key, "pass"), "evidence": ""}
        for key, (name, area) in names.items()
    ]
    incident.record("verification.made", {"outcome": "pass", "tally": {}, "checks": checks}, actor="responder")


# the lists ------------------------------------------------------------------------------------------------------------


def test_every_box_of_the_playbook_is_an_item_word_for_word() -> None:
    assert len(list(LISTS.items())) == 84
    shared = ROOT.parent / "shared" / "playbook.md"
    if not shared.exists():
        pytest.skip("the playbook's text is not here")
    text = shared.read_text()
    boxes = Counter(box for box in re.findall(r"^- \[ \] (.+)$", text, re.M) if not box.startswith("["))
    texts = Counter(item.text for item in LISTS.items())
    assert sum(boxes.values()) >= BOXES and not boxes - texts
    lines = {line.lstrip("- ").removeprefix("[ ] ") for line in text.splitlines()}
    assert {item.text for item in LISTS.items()} <= lines
    headings = set(re.findall(r"^(?:#+ |\*\*)(.+?):?(?:\*\*)?$", text, re.M))
    assert {each.title for each in LISTS.checklist} | {
        g.title for c in LISTS.checklist for g in c.group if g.title
    } <= headings


def test_every_fact_answers_an_item_and_an_empty_journal_passes_only_what_the_playbook_says() -> None:
    assert {item.fact for item in LISTS.items() if item.fact} == set(FACTS)
    nothing = Evidence((), BOOK, Path("/nowhere"))
    passing = {s.item.fact for s in standings(LISTS, nothing) if s.state is ItemState.PASSED}
    assert passing == {"communication_plan", "verification_ready"}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('fact = "scope"', 'fact = "scoop"', "there is no fact 'scoop'"),
        ('id = "assess.causes"', 'id = "assess.scope"', "assess.scope is there twice"),
        ('same_as = "pre.stakeholders"', 'same_as = "pre.nobody"', "pre.nobody, which is no item"),
        ("[[checklist]]", "[[checklist", "cannot be read"),
    ],
)
def test_another_file_may_be_named_and_is_read_as_strictly(tmp_path: Path, old: str, new: str, said: str) -> None:
    source = (ROOT / "toolkit" / "checklist" / "checklists.toml").read_text()
    mine = tmp_path / "mine.toml"
    book = BOOK.model_copy(
        update={"folder": tmp_path, "checklists": BOOK.checklists.model_copy(update={"file": Path("mine.toml")})}
    )
    mine.write_text(source.replace("Impact assessed", "Impact known to the depot"))
    assert load_checklists(book).item("pre.impact").text == "Impact known to the depot"
    mine.write_text(source.replace(old, new, 1))
    with pytest.raises(UsageError, match=re.escape(said)):
        load_checklists(book)


# answers --------------------------------------------------------------------------------------------------------------


def test_what_the_journal_tells_is_answered_by_it(incident: Incident) -> None:
    assert of(incident, "pre.impact").state is ItemState.OPEN
    assessed(incident)
    impact = of(incident, "pre.impact")
    assert (impact.state, impact.by) == (ItemState.PASSED, "toolkit") and "40 requests, 50%" in impact.evidence
    assert of(incident, "assess.causes").evidence == "ranked first: a migration (strong)"
    incident.record("backup.failed", {"error": "the disk is full"}, actor="responder")
    assert of(incident, "safety.backup").state is ItemState.FAILED
    incident.record("backup.made", {"folder": "backup"}, actor="responder")
    assert of(incident, "safety.backup").state is ItemState.PASSED


def test_a_rehearsal_counts_for_its_own_plan_alone(incident: Incident) -> None:
    plan = PLAN.to_json()
    rehearsed(incident)
    assert of(incident, "pre.scripts", plan).state is ItemState.PASSED
    assert of(incident, "pre.downtime", plan).evidence == "on the copy all steps took 1.5 s"
    assert of(incident, "pre.scripts", plan | {"plan": "another"}).state is ItemState.OPEN
    rehearsed(incident, "fail")
    assert of(incident, "pre.scripts", plan).state is ItemState.FAILED
    incident.record("rehearsal.skipped", {"plan": PLAN.id, "why": "no time"}, actor="dba")
    skipped = of(incident, "pre.scripts", plan)
    assert (skipped.state, skipped.by) == (ItemState.OVERRIDDEN, "dba") and "no time" in skipped.evidence


def test_an_item_of_checks_is_as_good_as_the_worst_of_them(incident: Incident) -> None:
    assert of(incident, "works.dashboard").state is ItemState.OPEN
    verified(incident)
    assert of(incident, "works.dashboard").state is of(incident, "post.security").state is ItemState.PASSED
    verified(incident, loads="unknown", policies="fail")
    assert of(incident, "works.dashboard").state is ItemState.OPEN, "unknown is never passed"
    assert of(incident, "post.security").evidence == "row-level security: fail"
    assert of(incident, "works.queue").state is ItemState.OPEN, "no check of that name was made"


def test_stakeholders_are_notified_when_whoever_is_named_for_the_severity_was_told(incident: Incident) -> None:
    def sent(to: str, *, outside: bool = False) -> None:
        incident.record("update.sent", {"update": "1", "to": to, "by": "mail", "outside": outside}, actor="responder")

    sent("status page", outside=True)
    sent("#incidents")
    assert of(incident, "pre.stakeholders").evidence == "not told yet: Executives"
    sent("Executives")
    told = of(incident, "pre.stakeholders")
    assert told.state is ItemState.PASSED and of(incident, "assess.stakeholders").state is ItemState.PASSED
    assert of(incident, "during.updates").state is ItemState.PASSED
    incident.record("update.missed", {"due": "2026-12-01T00:00:00"}, actor="monitor")
    assert of(incident, "during.updates").state is ItemState.FAILED


# people ---------------------------------------------------------------------------------------------------------------


def test_a_person_ticks_by_name_and_may_take_it_back(incident: Incident) -> None:
    tick(incident, BOOK, LISTS, "assess.stakeholders", by="Jo", note="by phone")
    for id in ("assess.stakeholders", "pre.stakeholders"):
        found = of(incident, id)
        assert (found.state, found.by, found.evidence) == (ItemState.TICKED, "Jo", "by phone") and found.at
    untick(incident, LISTS, "pre.stakeholders", by="Jo", note="it was the wrong list")
    assert of(incident, "pre.stakeholders").state is ItemState.OPEN
    kinds = [entry.kind for entry in incident.journal.entries()[1:]]
    assert kinds == ["checklist.ticked", "checklist.unticked"], "the journal keeps both"


def test_nobody_ticks_what_a_check_has_answered(incident: Incident) -> None:
    assessed(incident)
    incident.record("backup.failed", {"error": "the disk is full"}, actor="responder")
    before = len(incident.journal.entries())
    for id, said in (
        ("pre.impact", "is answered by a check"),
        ("pre.backup", "A check says no"),
        ("pre.no", "no item"),
    ):
        with pytest.raises(UsageError, match=said):
            tick(incident, BOOK, LISTS, id, by="Jo")
    with pytest.raises(UsageError, match="Who says so"):
        tick(incident, BOOK, LISTS, "pre.channels", by=" ")
    with pytest.raises(UsageError, match="Why may"):
        override(incident, LISTS, "pre.backup", by="Jo", reason=" ")
    assert len(incident.journal.entries()) == before
    override(incident, LISTS, "pre.backup", by="Jo", reason="the provider keeps one")
    assert of(incident, "pre.backup").state is ItemState.OVERRIDDEN


def test_a_tick_does_not_outlive_the_check_that_says_no(incident: Incident) -> None:
    tick(incident, BOOK, LISTS, "safety.backup", by="Jo")
    assert of(incident, "safety.backup").state is ItemState.TICKED
    incident.record("backup.failed", {"error": "the disk is full"}, actor="responder")
    assert of(incident, "safety.backup").state is ItemState.FAILED


# the gate -------------------------------------------------------------------------------------------------------------


def waiting(incident: Incident) -> set[str]:
    return {each.item.id for each in open_blocking(LISTS, evidence_of(incident, BOOK, PLAN.to_json()))}


def test_the_gate_names_what_it_waits_for_and_opens_when_all_is_answered(incident: Incident) -> None:
    assert waiting(incident) == {"pre.backup", "pre.impact", "pre.stakeholders", "pre.scripts"}
    assessed(incident)
    incident.record("backup.made", {"folder": "backup"}, actor="responder")
    rehearsed(incident)
    with pytest.raises(RollbackError, match=r"A blocking item is open.*pre\.stakeholders") as refused:
        require_items(incident, BOOK, PLAN, "", actor="dba")
    assert refused.value.next and "toolkit checklist tick pre.stakeholders" in refused.value.next
    tick(incident, BOOK, LISTS, "pre.stakeholders", by="Jo")
    require_items(incident, BOOK, PLAN, "", actor="dba")


def test_a_reason_opens_the_gate_for_this_plan_alone_and_is_journaled_for_each_item(incident: Incident) -> None:
    require_items(incident, BOOK, PLAN, "the house burns", actor="dba")
    said = [entry.data for entry in incident.journal.entries() if entry.kind == "checklist.overridden"]
    assert {each["item"] for each in said} == {"pre.backup", "pre.impact", "pre.stakeholders", "pre.scripts"}
    assert {(each["reason"], each["by"], each["plan"]) for each in said} == {("the house burns", "dba", PLAN.id)}
    require_items(incident, BOOK, PLAN, "", actor="dba")
    other = replace(PLAN, kind="restore")
    assert other.id != PLAN.id
    with pytest.raises(RollbackError, match="4 blocking items are open"):
        require_items(incident, BOOK, other, "", actor="dba")


def test_at_a_terminal_it_is_asked_before_anything_is_made(incident: Incident, monkeypatch: pytest.MonkeyPatch) -> None:
    down = RunDown(9, 8, "000009_x.down.sql", "00")
    plan = replace(PLAN, steps=(Step("down-9", down, "Undo migration 9", "", "", "", ""),))
    with pytest.raises(RollbackError, match="2 blocking items are open") as refused:
        answer_items(incident, BOOK, plan, "", operator="dba")
    assert refused.value.next and f"--incident {incident.folder.resolve()}" in refused.value.next
    typed = iter(["the graphs are down too", " Done"])
    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr("typer.prompt", lambda *_, **__: next(typed))
    answer_items(incident, BOOK, plan, "", operator="dba")
    answer_items(incident, BOOK, plan, "", operator="dba")  # asks nothing more
    said = [(entry.kind, entry.data["item"]) for entry in incident.journal.entries() if entry.kind.startswith("check")]
    assert said == [("checklist.overridden", "pre.impact"), ("checklist.ticked", "pre.stakeholders")]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_what_the_plan_makes_on_its_way_is_not_waited_for_before(incident: Incident) -> None:
    with pytest.raises(RollbackError) as refused:
        require_items(incident, BOOK, PLAN, "", actor="dba", but=("backup", "rehearsal"))
    assert "pre.impact" in str(refused.value) and "pre.backup" not in str(refused.value)


# later ----------------------------------------------------------------------------------------------------------------


def test_what_comes_later_is_due_from_the_resolution_and_overdue_after_it(incident: Incident) -> None:
    assert due_items(LISTS, evidence_of(incident, BOOK)) == []
    incident.advance(State.RESOLVED, "verified", actor="responder")
    due = due_items(LISTS, evidence_of(incident, BOOK))
    resolved = incident.moment(State.RESOLVED)
    assert resolved is not None
    hours = {each.item.id: (each.due - resolved) / timedelta(hours=1) for each in due if each.due}
    assert hours["after.cause"] == 2 and hours["post.scheduled"] == 24 and hours["post.actions"] == 48
    late = {each.item.id for each in due if each.overdue(resolved + timedelta(hours=25))}
    assert "post.scheduled" in late and "post.actions" not in late
    tick(incident, BOOK, LISTS, "post.scheduled", by="Jo")
    assert "post.scheduled" not in {each.item.id for each in due_items(LISTS, evidence_of(incident, BOOK))}


# commands -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    (tmp_path / "playbook.toml").write_text((ROOT / "playbook.toml").read_text())
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["checklist", *words])
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return call


def test_the_commands_tick_take_back_and_override(run: Any, tmp_path: Path) -> None:
    incident = Incident(tmp_path / "reports" / "incidents" / "one")
    incident.folder.mkdir(parents=True)
    incident.open(Severity.P0, ["x"], actor="monitor")
    code, out, _ = run("tick", "pre.stakeholders", "--by", "Jo", "--note", "by phone", "--json")
    assert code == 0 and json.loads(out)["state"] == "ticked" and json.loads(out)["by"] == "Jo"
    code, out, _ = run("show", "pre-rollback")
    assert code == 0 and re.search(r"✓ ticked +Stakeholders notified +Jo +by phone", out)
    assert "A destructive step waits for pre.impact" in out
    assert run("untick", "pre.stakeholders", "--by", "Jo")[0] == 0
    code, out, _ = run("override", "pre.impact", "--by", "Jo", "--reason", "the log is down", "--json")
    assert code == 0 and json.loads(out)["evidence"] == "the log is down"
    told = json.loads(run("list", "--json")[1])
    assert told["blocking"] == ["pre.backup", "pre.target", "pre.stakeholders", "pre.scripts"]
    assert run("show", "no-such-list")[0] == 2 and run("tick", "pre.nothing", "--by", "Jo")[0] == 2


def test_what_is_overdue_is_told_over_all_incidents(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    incident = Incident(tmp_path / "reports" / "incidents" / "one")
    incident.folder.mkdir(parents=True)
    incident.open(Severity.P0, ["x"], actor="monitor")
    assert run("due")[0] == 0
    incident.advance(State.RESOLVED, "verified", actor="responder")
    code, out, _ = run("due", "--json")
    assert code == 0 and json.loads(out)["overdue"] == 0 and len(json.loads(out)["due"]) > 20
    later = utc_now() + timedelta(hours=25)
    monkeypatch.setattr("toolkit.cli.checklist.utc_now", lambda: later)
    code, out, _ = run("due")
    assert code == 3 and re.search(r"one +OVERDUE since .* Post-mortem scheduled", out)


# widgets --------------------------------------------------------------------------------------------------------------


def board(incident: Incident) -> ChecklistBoard:
    return ChecklistBoard(incident, BOOK, ("pre-rollback",), by="Jo")


def test_a_click_writes_to_the_journal_and_shows_what_it_says(incident: Incident) -> None:
    shown = board(incident)
    row = shown.rows["pre.stakeholders"]
    row.box.value = True
    assert of(incident, "pre.stakeholders").by == "Jo" and "✓ ticked Jo" in row.state.value
    row.box.value = False
    assert of(incident, "pre.stakeholders").state is ItemState.OPEN and "☐ open" in row.state.value
    row.reason.value = "nobody answers"
    row.go_on.click()
    assert of(incident, "pre.stakeholders").evidence == "nobody answers" and row.box.value
    assert row.reason.layout.display == "none"


def test_what_is_refused_is_said_and_leaves_the_box_as_the_journal_has_it(incident: Incident) -> None:
    incident.record("backup.failed", {"error": "the disk is full"}, actor="responder")
    shown = board(incident)
    shown.rows["pre.backup"].box.value = True
    assert not shown.rows["pre.backup"].box.value and "A check says no" in shown.rows["pre.backup"].state.value
    shown.name.value = ""
    shown.rows["pre.channels"].box.value = True
    assert not shown.rows["pre.channels"].box.value and "Who says so" in shown.rows["pre.channels"].state.value


def test_what_a_check_answered_cannot_be_clicked(incident: Incident) -> None:
    assessed(incident)
    assert board(incident).rows["pre.impact"].box.disabled and not board(incident).rows["pre.channels"].box.disabled


def test_where_nobody_can_click_it_is_a_table(incident: Incident, capsys: pytest.CaptureFixture[str]) -> None:
    assert not somebody_can_click()
    rehearsed(incident)
    show_checklist(incident, BOOK, "pre-rollback", by="Jo", planned=PLAN.to_json())
    out = capsys.readouterr().out
    assert "Stakeholders notified" in out and "HTML" in out
    assert "Back to version 8, on sandbox" in out and "it was carried out on a copy" in out
