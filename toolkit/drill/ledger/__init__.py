"""What the senders sent and what was acknowledged, written before it counts, and the accounting that rests on it.

The point of the ledger is that it is not the service's word: it is kept by the senders, on their side of the wire, and
compared with the database by SQL of its own. It must never import the service, its schema or the toolkit's readers of
them, because a mistake there is what it exists to find.

    book         the file: opening, writing by the senders, reading by others
    baseline     what the database held before traffic
    accounting   acknowledged, lost, recovered, duplicated, unexpected, and effects that are missing
    measures     rates, downtime, and the export of every request
"""

from toolkit.drill.ledger.accounting import Accounting, Tally, account
from toolkit.drill.ledger.baseline import record_baseline
from toolkit.drill.ledger.book import Ending, Ledger, Outcome, reading, seal
from toolkit.drill.ledger.measures import Downtime, LiveRates, Totals, downtime, export_requests, live, totals

__all__ = [
    "Accounting",
    "Downtime",
    "Ending",
    "Ledger",
    "LiveRates",
    "Outcome",
    "Tally",
    "Totals",
    "account",
    "downtime",
    "export_requests",
    "live",
    "reading",
    "record_baseline",
    "seal",
    "totals",
]
