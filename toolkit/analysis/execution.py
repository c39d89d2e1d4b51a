"""What was carried out, as the journals tell it: backup, plan and steps, checks, accounting, in types.

It reads entries and repeats them. Where several entries tell of the same thing, the latest counts and the earlier ones
are named. It judges nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from toolkit.analysis import fields
from toolkit.analysis.entries import cite, every
from toolkit.analysis.references import Reference, References, Source
from toolkit.journal import Entry

ACCOUNTED = ("attempted", "acknowledged", "lost", "duplicated", "unexpected", "recovered")
MUST_BE_EMPTY = ("lost", "duplicated", "unexpected", "baseline_missing", "effects_missing", "effects_doubled")


@dataclass(frozen=True)
class Backup:
    """`tables` are row counts by name. `made` is False where it failed; `error` then says why."""

    made: bool
    folder: str | None
    bytes: int | None
    tables: Mapping[str, int]
    seconds: float | None
    archive: str | None
    error: str | None
    reference: Reference


@dataclass(frozen=True)
class Step:
    """A planned step and what became of it: 'done', 'skipped', 'failed', 'begun' or 'not begun'."""

    id: str
    what: str
    expected: str | None
    undo: str | None
    state: str
    seconds: float | None
    outcome: str | None
    references: References


@dataclass(frozen=True)
class Plan:
    """`target` names where it acts. `executed` is False where it was only shown. `others` are plans but this one."""

    id: str | None
    kind: str | None
    target: str | None
    executed: bool
    summary: str | None
    steps: tuple[Step, ...]
    destroys: tuple[str, ...]
    warnings: tuple[str, ...]
    others: References
    reference: Reference


@dataclass(frozen=True)
class CheckRow:
    area: str
    name: str
    outcome: str
    evidence: str


@dataclass(frozen=True)
class Verification:
    outcome: str | None
    checks: tuple[CheckRow, ...]
    earlier: References
    reference: Reference

    def tally(self, outcome: str) -> int:
        return sum(check.outcome == outcome for check in self.checks)


@dataclass(frozen=True)
class Accounting:
    """Counts by name, and the ids of a few events behind each. Event ids name no person."""

    counts: Mapping[str, int]
    examples: Mapping[str, tuple[str, ...]]
    reference: Reference

    @property
    def faults(self) -> Mapping[str, int]:
        """What must be empty and is not."""
        return {name: self.counts[name] for name in MUST_BE_EMPTY if self.counts.get(name)}


def read_backup(entry: Entry | None) -> Backup | None:
    if entry is None:
        return None
    rows = fields.within(entry.data, "tables")
    return Backup(
        made=entry.kind == "backup.made",
        folder=fields.text(entry.data, "folder"),
        bytes=fields.whole(entry.data, "bytes"),
        tables={name: int(value) for name, value in rows.items() if isinstance(value, int)},
        seconds=fields.number(entry.data, "seconds"),
        archive=fields.text(entry.data, "archive"),
        error=fields.text(entry.data, "error"),
        reference=cite(entry),
    )


def read_plan(journal: Sequence[Entry]) -> Plan | None:
    plans = every(journal, "plan.made")
    if not plans:
        return None
    meant = [plan for plan in plans if plan.data.get("execute") is not False]
    entry = (meant or plans)[-1]
    since = [each for each in journal if each.seq > entry.seq and _belongs(each, entry)]
    others = [plan for plan in plans if fields.text(plan.data, "plan") != fields.text(entry.data, "plan")]
    return Plan(
        id=fields.text(entry.data, "plan"),
        kind=fields.text(entry.data, "kind"),
        target=fields.text(entry.data, "target"),
        executed=bool(meant),
        summary=fields.text(entry.data, "summary"),
        steps=tuple(_step(said, since) for said in fields.objects(entry.data, "steps")),
        destroys=fields.texts(entry.data, "destroys"),
        warnings=fields.texts(entry.data, "warnings"),
        others=tuple(cite(plan) for plan in others),
        reference=cite(entry),
    )


def _belongs(entry: Entry, plan: Entry) -> bool:
    """Whether an entry is of this plan; where neither names a plan, it is."""
    return fields.text(entry.data, "plan") in (None, fields.text(plan.data, "plan"))


def _step(said: fields.Data, since: Sequence[Entry]) -> Step:
    """What the entries of the plan tell of this step. The last of them decides its state."""
    name = fields.text(said, "id") or ""
    kinds = ("step.begun", "step.done", "step.skipped", "step.failed")
    mine = [entry for entry in every(since, *kinds) if fields.text(entry.data, "step") == name]
    last = mine[-1] if mine else None
    told = last.data if last else {}
    return Step(
        id=name,
        what=fields.text(said, "what") or name,
        expected=fields.text(said, "expected"),
        undo=fields.text(said, "undo"),
        state=last.kind.removeprefix("step.") if last else "not begun",
        seconds=fields.number(told, "seconds"),
        outcome=fields.text(told, "outcome") or fields.text(told, "error") or fields.text(told, "why"),
        references=tuple(cite(entry) for entry in mine),
    )


def read_verification(journal: Sequence[Entry]) -> Verification | None:
    made = every(journal, "verification.made")
    if not made:
        return None
    checks = tuple(
        CheckRow(
            fields.text(each, "area") or "",
            fields.text(each, "name") or "",
            fields.text(each, "outcome") or "unknown",
            fields.text(each, "evidence") or "",
        )
        for each in fields.objects(made[-1].data, "checks")
    )
    earlier = tuple(cite(entry) for entry in made[:-1])
    return Verification(fields.text(made[-1].data, "outcome"), checks, earlier, cite(made[-1]))


def read_accounting(entry: Entry | None, facilitator: Sequence[Entry]) -> Accounting | None:
    if entry is None:
        return None
    names = dict.fromkeys([*ACCOUNTED, *MUST_BE_EMPTY])
    counts = {name: value for name in names if (value := fields.count(entry.data, name)) is not None}
    examples = {name: fields.texts(fields.within(entry.data, name), "examples") for name in counts}
    source = Source.FACILITATOR if any(entry is each for each in facilitator) else Source.JOURNAL
    return Accounting(counts, examples, cite(entry, source))
