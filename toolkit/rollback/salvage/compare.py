"""What vanished between two pictures of one transaction, whatever made it vanish: the net under what texts tell.

Pure. It knows nothing of statements; it holds what is gone against what was copied and names what was not.
"""

from collections.abc import Mapping, Set
from dataclasses import dataclass

from toolkit.rollback.salvage.find import How, Spec
from toolkit.rollback.salvage.shapes import Picture, Shape


@dataclass(frozen=True)
class Covered:
    """What was copied: whole tables, columns of all rows of a table, and how many rows of a table were written by
    statements whose rows had been copied. `stale`: copied after something unseen had written there."""

    whole: Set[int]
    columns: Set[tuple[int, int]]
    explained: Mapping[int, int]
    stale: Set[int]


@dataclass(frozen=True)
class Missed:
    """Something that vanished uncopied: what a person reads, and what must be copied before the next try."""

    what: str
    spec: Spec


def vanished(before: Picture, after: Picture, covered: Covered) -> list[Missed]:
    """What went and was not copied, a table or a column each. A partition goes by the table that it is a part of."""
    found: dict[int, Missed] = {}
    for oid, shape in before.shapes.items():
        if oid in found or _root_whole(shape, covered):
            continue
        missed = _missed(shape, before, after, covered)
        if missed is not None:
            found[missed.spec.oid] = missed
    return list(found.values())


def _root_whole(shape: Shape, covered: Covered) -> bool:
    return bool({shape.oid, shape.root} & covered.whole) and not {shape.oid, shape.root} & covered.stale


def _missed(shape: Shape, before: Picture, after: Picture, covered: Covered) -> Missed | None:
    if {shape.oid, shape.root} & covered.stale:
        return Missed(f"rows of {shape} were changed by code before", Spec(How.BOTH, shape.root, temporary=True))
    now = after.shapes.get(shape.oid)
    if now is None:
        gone = shape.kind == "p" or shape.size > 0
        return Missed(f"the table {shape} is gone", Spec(How.ROWS, shape.oid)) if gone else None
    written = _unexplained(shape, before, after, covered)
    emptied = shape.kind == "r" and now.file != shape.file and shape.size > 0 and _emptied(shape, now, before, after)
    if written or emptied:
        what = f"{written:,} rows" if written else "rows"
        return Missed(f"{what} of {shape} were changed or removed", Spec(How.BOTH, shape.root, temporary=True))
    columns = _lost_columns(shape, now, covered)
    if columns:
        names = ", ".join(shape.columns[number].name for number in columns)
        return Missed(f"columns {names} of {shape} are gone or another type", Spec(How.COLUMNS, shape.oid, columns))
    return None


def _unexplained(shape: Shape, before: Picture, after: Picture, covered: Covered) -> int:
    if shape.kind != "r":
        return 0
    return after.changed(shape.root) - before.changed(shape.root) - covered.explained.get(shape.root, 0)


def _emptied(shape: Shape, now: Shape, before: Picture, after: Picture) -> bool:
    """It has another file: emptied (and perhaps filled again), rather than rewritten with the same rows."""
    was, is_ = before.writes.get(shape.oid), after.writes.get(shape.oid)
    filled = was is not None and is_ is not None and is_.inserted > was.inserted
    return now.size == 0 or filled


def _lost_columns(shape: Shape, now: Shape, covered: Covered) -> tuple[int, ...]:
    lost = [
        number
        for number, column in shape.stored.items()
        if number not in now.columns or now.columns[number].kind != column.kind
    ]
    if shape.root != shape.oid:  # column numbers differ among partitions; the root tells
        return ()
    return tuple(number for number in lost if (shape.oid, number) not in covered.columns)
