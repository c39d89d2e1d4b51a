"""What the live database says of its own migrations: which tool keeps the account, which version, is it whole.

Read only, and without a folder of files to hold it against: that is `rollback.state_tables`, which writes as well. A
version that could not be read is an error, never a zero; an empty table is no migration, None.
"""

from toolkit.adapters.state_tables.recorded import Found, Holder, Reader, Recorded, number_of, same_version
from toolkit.adapters.state_tables.tools import TOOLS, Known, choose, find_state_tables, identify, read_table

__all__ = [
    "TOOLS",
    "Found",
    "Holder",
    "Known",
    "Reader",
    "Recorded",
    "choose",
    "find_state_tables",
    "identify",
    "number_of",
    "read_table",
    "same_version",
]
