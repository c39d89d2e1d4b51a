"""Settling what a restore's merge could not decide: somebody has looked, says why it may stay, and that is journaled.

A row that was refused is never settled by the way: it was acknowledged and is not there, so it is put in by hand first,
and then settled by its own command (`toolkit restore settle`).
"""

from toolkit.adapters.conflicts import REFUSED, count_undecided, said_of, settle, undecided
from toolkit.adapters.systems import Systems
from toolkit.incident import Incident


def settle_conflicts(systems: Systems, incident: Incident, why: str, *, actor: str) -> str:
    """Settle every conflict of the target that is no refused row, where `why` says so; in a sentence how they stand.

    Raises DatabaseError, JournalError.
    """
    with systems.database.reading() as conn:
        found = count_undecided(conn)
        marks = {each.mark for each in undecided(conn)}
    if not found:
        return "No conflict of a restore is undecided."
    if not why:
        return f"Undecided: {said_of(found)}. `toolkit restore conflicts` lists them; `settled` says why they may stay."
    incident.record("conflicts.settle.begun", {"marks": sorted(marks), "reason": why}, actor=actor)
    with systems.database.writing() as conn:
        count = sum(settle(conn, mark, f"{actor}: {why}", but=REFUSED) for mark in sorted(marks))
    incident.record("conflicts.settled", {"count": count, "reason": why}, actor=actor)
    left = sum(found.values()) - count
    return f"{count} conflicts are settled: {why}." + (
        f" {left} refused rows are not: put them in by hand." if left else ""
    )
