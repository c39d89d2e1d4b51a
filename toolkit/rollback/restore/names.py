"""Under which names a restored and a damaged copy stand: `restored_<mark>_<schema>`, `damaged_<mark>_<schema>`.

The mark is the same each time for one incident, one source and one turn, so that a run that goes on finds what it began
and a later restore of the same source does not. Pure.
"""

import hashlib

RESTORED, DAMAGED = "restored", "damaged"
LONGEST = 63  # bytes of a name in PostgreSQL
_MARK, _DIGEST = 8, 8


def mark_of(incident: str, source: str, turn: int = 1) -> str:
    """Eight hexadecimal digits for an incident's restore of one source; `turn` as a plan has it."""
    again = f"\0{turn}" if turn > 1 else ""
    return hashlib.sha256(f"{incident}\0{source}{again}".encode()).hexdigest()[:_MARK]


def restored_name(mark: str, name: str = "") -> str:
    """Of a restored schema; without a name, of the restored database."""
    return _fitting(RESTORED, mark, name)


def damaged_name(mark: str, name: str = "") -> str:
    """Of a schema or database that was put aside."""
    return _fitting(DAMAGED, mark, name)


def _fitting(what: str, mark: str, name: str) -> str:
    """What does not fit ends in a digest of itself, so that two long names stay two."""
    whole = "_".join(part for part in (what, mark, name) if part)
    if len(whole.encode()) <= LONGEST:
        return whole
    digest = hashlib.sha256(whole.encode()).hexdigest()[:_DIGEST]
    return whole.encode()[: LONGEST - _DIGEST - 1].decode(errors="ignore") + f"_{digest}"
