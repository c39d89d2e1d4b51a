"""The service's schema: twelve migrations, up and down, in golang-migrate's layout, and the rows to start with.

Versions 1 to 8 are live in a fresh sandbox, 9 is the one that breaks, 10 to 12 wait. This package plays the part of the
team's own migration tool: it goes up and leaves the state table as golang-migrate does. It never goes down; that is
what the toolkit is for.
"""

from toolkit.drill.schema.applying import MIGRATIONS, migrate_partly, migrate_up, release_migrations
from toolkit.drill.schema.seeding import COMPANIES, FAILURE_REASONS, seed

__all__ = [
    "COMPANIES",
    "FAILURE_REASONS",
    "MIGRATIONS",
    "migrate_partly",
    "migrate_up",
    "release_migrations",
    "seed",
]
