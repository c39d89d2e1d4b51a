"""Salvage: whatever a down destroys is copied first, with its keys, in the down's own transaction, and can go back.

`find` reads what a statement is about to take, `keep` copies it, `compare` is the net for what no text tells,
`put_back` brings it back after the migration was applied again, `estimate` says beforehand what it will cost. It plans
nothing and runs no down.
"""

from toolkit.rollback.salvage.compare import Missed
from toolkit.rollback.salvage.estimate import Estimate, estimate
from toolkit.rollback.salvage.find import How, Spec
from toolkit.rollback.salvage.keep import Keeper, as_role
from toolkit.rollback.salvage.put_back import PutBack, put_back, put_back_in
from toolkit.rollback.salvage.records import Salvaged, list_salvaged, prepare, salvage_schema, salvaged_in

__all__ = [
    "Estimate",
    "How",
    "Keeper",
    "Missed",
    "PutBack",
    "Salvaged",
    "Spec",
    "as_role",
    "estimate",
    "list_salvaged",
    "prepare",
    "put_back",
    "put_back_in",
    "salvage_schema",
    "salvaged_in",
]
