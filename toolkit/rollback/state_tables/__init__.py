"""What the database says of its own migrations, held against the folder of files; and writing it as the tool would.

Reading a table is `adapters.state_tables`, whose names are given on from here. This package owns what needs the files:
which versions are applied, pending, missing or changed; and the accounts that are written when a migration is taken
back or applied. A version that could not be read is an error, never a zero.
"""

from toolkit.adapters.state_tables import (
    TOOLS,
    Found,
    Holder,
    Known,
    Recorded,
    choose,
    find_state_tables,
    identify,
    read_table,
)
from toolkit.rollback.state_tables.accounts import Account, account_of
from toolkit.rollback.state_tables.golang_migrate import GolangMigrate
from toolkit.rollback.state_tables.listed_accounts import Dbmate, Diesel, Flyway, Goose, NodePgMigrate
from toolkit.rollback.state_tables.reading import owner_of, read_recorded, read_state
from toolkit.rollback.state_tables.sqitch import Sqitch
from toolkit.rollback.state_tables.state import MigrationState, against

__all__ = [
    "TOOLS",
    "Account",
    "Dbmate",
    "Diesel",
    "Flyway",
    "Found",
    "GolangMigrate",
    "Goose",
    "Holder",
    "Known",
    "MigrationState",
    "NodePgMigrate",
    "Recorded",
    "Sqitch",
    "account_of",
    "against",
    "choose",
    "find_state_tables",
    "identify",
    "owner_of",
    "read_recorded",
    "read_state",
    "read_table",
]
