"""Which accounts are written: those of the tools whose downs are run here. The others are refused by name."""

from toolkit.adapters.state_tables import Found
from toolkit.errors import RollbackError
from toolkit.rollback.state_tables.account import Account
from toolkit.rollback.state_tables.golang_migrate import GolangMigrate
from toolkit.rollback.state_tables.listed_accounts import Dbmate, Diesel, Flyway, Goose, NodePgMigrate
from toolkit.rollback.state_tables.sqitch import Sqitch

_ALL: tuple[Account, ...] = (GolangMigrate(), Dbmate(), NodePgMigrate(), Flyway(), Goose(), Diesel(), Sqitch())
ACCOUNTS = {account.tool: account for account in _ALL}

__all__ = ["ACCOUNTS", "Account", "account_of"]


def account_of(found: Found, *, target: str) -> Account:
    """How to write it. Raises RollbackError for a tool whose migrations are not taken back here."""
    account = ACCOUNTS.get(found.tool)
    if account is None:
        raise RollbackError(
            f"{found} is read but not written: only {', '.join(ACCOUNTS)} have downs that are run here",
            target=target,
            state="nothing was done",
            next="go down with that tool itself, or restore from a backup",
        )
    return account
