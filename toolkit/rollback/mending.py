"""Type 1 from a half-applied migration: undo what is there of it, as its diagnosis found, and nothing else. Pure."""

import hashlib
from collections.abc import Sequence

from toolkit.errors import RollbackError
from toolkit.rollback.diagnosis import Diagnosis
from toolkit.rollback.half_applied import Verdict
from toolkit.rollback.plan import Mend, Plan, Step, mending_text
from toolkit.rollback.situation import Situation

MENDED = ("golang-migrate",)  # whose account says that its latest version is dirty, and is set back by hand


def plan_mending(
    situation: Situation, diagnosis: Diagnosis, *, to: int | None, reasons: Sequence[str] = (), rows_stay: str = ""
) -> Plan:
    """Undo the half of a migration that is there, and set the state table to the version below it.

    `rows_stay` is why rows may stay as the migration left them; '' where they may not. Raises RollbackError when the
    diagnosis cannot tell what is there, when its way back was not proved on a scratch server, when it leaves rows
    changed without such a reason, and for a tool whose account is not set back here. `to` may be further below: that is
    a second plan, once this one is clean.
    """
    assert situation.folder is not None and situation.state is not None
    below = situation.folder.before(diagnosis.version)
    _require_told(diagnosis, situation.target)
    _require_rows_back(diagnosis, situation.target, rows_stay)
    _require_mended_here(diagnosis, situation.state.tool, situation.target)
    undoes = diagnosis.verdict is not Verdict.NOT
    action = _action(diagnosis, below, situation.folder.written(below))
    count = len(diagnosis.undo)
    return Plan(
        kind="migration",
        service=situation.service,
        target=situation.target,
        server=situation.server,
        summary=f"Mending of {situation.service}: migration {diagnosis.label} is {diagnosis.verdict}, back to {below}",
        steps=(
            Step(
                id=f"mend-{diagnosis.version}",
                action=action,
                what=f"Undo what is there of migration {diagnosis.label} ({count} statements) and set the state table "
                f"to {below}, clean"
                if undoes
                else f"Set the state table to {below}, clean: nothing of migration {diagnosis.label} is there",
                why="The state table says dirty; the hand-written down assumes that the up was whole"
                + (f". Rows stay as it left them: {rows_stay}" if rows_stay and diagnosis.left_rows else ""),
                expected="; ".join(diagnosis.undo) or "No statement but the state table's",
                verify=f"The state table says version {below}, clean, and the schema is that of {below}",
                undo="Apply the migration again with the migration tool; what was in its columns is salvaged",
            ),
        ),
        warnings=_warnings(diagnosis, below, to),
        reasons=(*reasons, _found(diagnosis), *_staying(diagnosis, rows_stay)),
    )


def _require_told(diagnosis: Diagnosis, target: str) -> None:
    if diagnosis.verdict is Verdict.UNKNOWN:
        why = "; ".join((*diagnosis.problems, *diagnosis.unknown)) or "the schema is neither"
        raise RollbackError(
            f"How far migration {diagnosis.label} came cannot be told: {why}",
            target=target,
            state="nothing was done",
            next="restore from a backup (Type 3), or compare by hand and correct the state table",
        )
    if diagnosis.verdict is not Verdict.NOT and "undo" not in diagnosis.proved:
        raise RollbackError(
            f"The statements that would undo migration {diagnosis.label} did not lead back on a scratch server",
            target=target,
            state="nothing was done",
            next="look at the diagnosis (toolkit migration diagnose), mend by hand, or restore from a backup (Type 3)",
        )


def _require_mended_here(diagnosis: Diagnosis, tool: str, target: str) -> None:
    """Other tools keep a failed migration beside those that are applied, where a plan would not find what it mends."""
    if tool in MENDED:
        return
    way = "; ".join(each.rstrip().rstrip(";") for each in diagnosis.undo)
    first = f"undo it by these statements, in one transaction: {way}; then " if way else ""
    raise RollbackError(
        f"What is there of migration {diagnosis.label} is not undone here for {tool}",
        target=target,
        state=f"nothing was done; the migration is {diagnosis.verdict}",
        next=f"{first}{diagnosis.undone.said}; or restore from a backup (Type 3: emergency-rollback "
        "--backup-restore=newest)",
    )


def _require_rows_back(diagnosis: Diagnosis, target: str, rows_stay: str) -> None:
    """A clean state table must not hide rows that the migration changed and nothing undoes."""
    if not diagnosis.left_rows or rows_stay:
        return
    raise RollbackError(
        f"Undoing migration {diagnosis.label} would leave rows as it made them: {'; '.join(diagnosis.left_rows)}. "
        "Which rows they were is not known from the schema",
        target=target,
        state=f"nothing was done; the migration is {diagnosis.verdict}, and the state table still says dirty",
        next="restore from a backup (Type 3: emergency-rollback --backup-restore=newest), which brings back what they "
        "held; or, if they may stay as they are, say why: emergency-rollback --migration-target … --rows-stay REASON",
    )


def _staying(diagnosis: Diagnosis, rows_stay: str) -> tuple[str, ...]:
    if not (diagnosis.left_rows and rows_stay):
        return ()
    return (
        f"Rows stay as the migration left them ({'; '.join(diagnosis.left_rows)}), on somebody's word: {rows_stay}.",
    )


def _action(diagnosis: Diagnosis, below: int | None, label: str | None) -> Mend:
    digest = hashlib.sha256(mending_text(diagnosis.undo).encode()).hexdigest()
    file = f"the undoing of {diagnosis.label} ({diagnosis.name})"
    return Mend(diagnosis.version, below, diagnosis.undo, file, digest, label)


def _found(diagnosis: Diagnosis) -> str:
    there = ", ".join(diagnosis.present) or "none of its objects"
    missing = ", ".join((*diagnosis.absent, *diagnosis.between)) or "none"
    return f"Migration {diagnosis.label} is {diagnosis.verdict}. There: {there}. Not there or half: {missing}."


def _warnings(diagnosis: Diagnosis, below: int | None, to: int | None) -> tuple[str, ...]:
    said = [f"{each[0].upper()}{each[1:]}." for each in (*diagnosis.unknown, *diagnosis.drift)]
    if to is not None and to != below:
        said.append(f"This leads to {below}, not to {to}: roll back from there when it is clean.")
    return tuple(said)
