"""Where the builds differ. A build is named by the schema version that its code was written for.

Each knows the columns that its version brought and no later ones; an older build runs on a newer schema as far as that
schema's defaults and triggers carry it. What is not in this module is the same in all builds.

    6   the oldest that can be rolled back to
    7   says who acted on a case                     (recovery_actions.source, version 7)
    8   reads the dashboard's view, books currency   (recovery_kpis, recovery_cases.currency, version 8)
    9   writes the failure's category                (recovery_cases.failure_category, version 9)
    10  lists open cases first                       (an index for them, version 10)
    11  shows when settings were last changed        (creator_settings_history, version 11)
    12  cleans up by the event's own date            (events.keep_until, version 12)
"""

from dataclasses import dataclass
from typing import LiteralString

from psycopg.sql import SQL

from toolkit.errors import UsageError

OLDEST, NEWEST = 6, 12

# The categories that the code of version 9 knows, as its migration does. Real failures have two reasons more.
CATEGORIES = ("card_declined", "expired_card", "fraud_suspected")

OPEN_CASE = """
INSERT INTO recovery_cases
    (company_id, membership_id, user_id, failure_reason, first_failure_at, incentive_days{column})
VALUES
    (%(company)s, %(membership)s, %(user)s, %(reason)s, %(failed_at)s,
     coalesce((SELECT incentive_days FROM creator_settings WHERE company_id = %(company)s), 3){value})
"""

MERGE_FAILURE = """
UPDATE recovery_cases
SET status = %(status)s,
    failure_reason = %(reason)s,
    first_failure_at = least(first_failure_at, %(failed_at)s){also}
WHERE id = %(case)s
"""

# A payment closes every open case of its membership, and its amount is booked on the newest.
CLOSE_CASES = """
UPDATE recovery_cases AS closing
SET status = 'recovered',
    recovered_at = now(),
    recovered_amount_cents =
        coalesce(recovered_amount_cents, 0) + CASE WHEN closing.id = newest.id THEN %(amount)s ELSE 0 END{also}
FROM (
    SELECT id
    FROM recovery_cases
    WHERE membership_id = %(membership)s AND company_id = %(company)s AND status = 'open'
    ORDER BY first_failure_at DESC
    LIMIT 1
) AS newest
WHERE membership_id = %(membership)s AND company_id = %(company)s AND status = 'open'
"""

RECORD_OPERATORS_ACTION = """
INSERT INTO recovery_actions (case_id, type, channel, metadata{column})
SELECT id, %(action)s, %(channel)s, jsonb_build_object('attempt', attempts){value}
FROM recovery_cases
WHERE id = %(case)s
"""

KPIS_FROM_TABLE = """
SELECT count(*) AS cases,
       count(*) FILTER (WHERE status = 'open') AS open_cases,
       count(*) FILTER (WHERE status = 'recovered') AS recovered_cases,
       count(*) FILTER (WHERE status IN ('cancelled', 'terminated')) AS ended_cases,
       coalesce(sum(recovered_amount_cents), 0)::bigint AS recovered_amount_cents,
       coalesce(sum(attempts), 0)::bigint AS nudges
FROM recovery_cases
WHERE first_failure_at >= now() - interval '14 days'
"""

KPIS_FROM_VIEW = """
SELECT coalesce(sum(cases), 0)::bigint AS cases,
       coalesce(sum(open_cases), 0)::bigint AS open_cases,
       coalesce(sum(recovered_cases), 0)::bigint AS recovered_cases,
       coalesce(sum(ended_cases), 0)::bigint AS ended_cases,
       coalesce(sum(recovered_amount_cents), 0)::bigint AS recovered_amount_cents,
       coalesce(sum(nudges), 0)::bigint AS nudges
FROM recovery_kpis
"""

LIST_CASES = """
SELECT id, company_id, membership_id, status, failure_reason, first_failure_at, last_nudge_at, attempts,
       incentive_days, recovered_at, recovered_amount_cents
FROM recovery_cases
WHERE %(status)s::text IS NULL OR status = %(status)s
ORDER BY {order}
LIMIT %(limit)s OFFSET %(offset)s
"""

LIST_SETTINGS = """
SELECT company_id, enable_push, enable_dm, incentive_days, reminder_offsets_days, {changed} AS changed_at
FROM creator_settings
ORDER BY company_id
LIMIT 200
"""

# Bounded, so that one call neither runs out of time nor bloats the table at once. The daily call comes again.
DELETE_OLD_EVENTS = """
DELETE FROM events
WHERE id IN (SELECT id FROM events WHERE processed AND {expired} LIMIT 5000)
"""


@dataclass(frozen=True)
class Build:
    """One build's statements. They take named parameters; the modules that use them say which."""

    number: int
    open_case: bytes
    merge_failure: bytes
    close_cases: bytes
    record_operators_action: bytes
    kpis: bytes
    list_cases: bytes
    list_settings: bytes
    delete_old_events: bytes

    @classmethod
    def of(cls, number: int) -> "Build":
        """Raises UsageError for a number outside OLDEST to NEWEST."""
        if not OLDEST <= number <= NEWEST:
            raise UsageError(f"There is no build {number}", next=f"use one from {OLDEST} to {NEWEST}")
        category = "%(category)s::text::failure_category"
        return cls(
            number=number,
            open_case=_statement(OPEN_CASE, column=", failure_category", value=f", {category}")
            if number >= 9
            else _statement(OPEN_CASE, column="", value=""),
            merge_failure=_statement(
                MERGE_FAILURE, also=f",\n    failure_category = {category}" if number >= 9 else ""
            ),
            close_cases=_statement(CLOSE_CASES, also=",\n    currency = %(currency)s" if number >= 8 else ""),
            record_operators_action=_statement(RECORD_OPERATORS_ACTION, column=", source", value=", 'operator'")
            if number >= 7
            else _statement(RECORD_OPERATORS_ACTION, column="", value=""),
            kpis=_statement(KPIS_FROM_VIEW if number >= 8 else KPIS_FROM_TABLE),
            list_cases=_statement(
                LIST_CASES, order="status <> 'open', first_failure_at DESC" if number >= 10 else "first_failure_at DESC"
            ),
            list_settings=_statement(
                LIST_SETTINGS,
                changed="""
                    coalesce((SELECT max(changed_at) FROM creator_settings_history AS history
                              WHERE history.company_id = creator_settings.company_id), updated_at)
                """
                if number >= 11
                else "updated_at",
            ),
            delete_old_events=_statement(
                DELETE_OLD_EVENTS,
                expired="keep_until < now()" if number >= 12 else "created_at < now() - interval '60 days'",
            ),
        )


def category_of(reason: str) -> str | None:
    """The category that build 9 writes for a failure's reason. None for the reasons that it forgot."""
    return reason if reason in CATEGORIES else None


def _statement(template: LiteralString, **parts: LiteralString) -> bytes:
    return SQL(template).format(**{name: SQL(part) for name, part in parts.items()}).as_bytes(None)
