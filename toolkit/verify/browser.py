"""Does the dashboard look right to a person? In a real browser: it loads, its scripts run, and its words are there.

Optional twice: it is asked only where the playbook says so, and where there is no browser the answer is unknown, which
stands in the way of nothing unless the playbook says `required`.
"""

from toolkit.adapters.browser import NoBrowserError, see_page
from toolkit.adapters.systems import Systems
from toolkit.checks import Check, Finding, judge, unknown
from toolkit.playbook import BrowserLook

AREA = "functional"
SHOWN = 3


def browser_checks(systems: Systems) -> list[Check]:
    """One for each page that the playbook wants seen."""
    return [
        Check(
            f"{look.path} looks right in a browser",
            AREA,
            lambda look=look: _look(systems, look),  # type: ignore[misc]
            optional=not look.required,
        )
        for look in systems.playbook.verification.browser
    ]


def _look(systems: Systems, wanted: BrowserLook) -> Finding:
    base = systems.service.config.base_url
    if base is None:
        return unknown("not looked: the service's URL is not set")
    try:
        seen = see_page(f"{base}{wanted.path}", within_s=wanted.within_s)
    except NoBrowserError as error:
        return unknown(f"not looked: {error.what}; {error.next}")
    missing = [words for words in wanted.shows if words.casefold() not in seen.text.casefold()]
    evidence = f"{seen.status}, {seen.title!r}, {len(seen.text):,} characters to read, after {seen.seconds:.1f} s"
    if missing:
        evidence += f"; it does not show {', '.join(missing)}"
    if seen.complaints:
        evidence += f"; {'; '.join(seen.complaints[:SHOWN])}"
    return judge(seen.status == 200 and not missing and not seen.complaints, evidence)
