"""All checks of one verification, in the order in which the playbook asks: service, data, schema, function, background.

The steady state's window is opened by the first check that is made and read by the last, so that all others are made
while it runs.
"""

from toolkit.adapters.systems import Systems
from toolkit.checks import Check
from toolkit.verify.actions import action_checks
from toolkit.verify.background import background_checks
from toolkit.verify.browser import browser_checks
from toolkit.verify.database import database_checks
from toolkit.verify.expectation import Expectation
from toolkit.verify.functional import functional_checks
from toolkit.verify.hosting import hosting_checks
from toolkit.verify.once import Once, behind
from toolkit.verify.schema import schema_checks
from toolkit.verify.service import figure_checks, service_checks
from toolkit.verify.steady import SteadyWindow, steady_checks

AT_REST = (" was not emptied", " is there twice", "every index is valid", "sequences are ahead of their columns")


def verification(systems: Systems, *, expectation: Expectation, window: SteadyWindow | None = None) -> list[Check]:
    """What to look at; nothing is looked at before a check is run. Run them in order, from one thread.

    What the playbook does not configure is not in the list. A `window` that the caller made is used in place of one of
    `expectation.steady_window_s` seconds.
    """
    window = window or SteadyWindow(systems, expectation.steady_window_s)
    answers = Once(systems.database.identity)
    connection, *content = database_checks(systems, expectation)
    of_the_database = [
        *content,
        *schema_checks(systems, expectation),
        *background_checks(systems),
        *figure_checks(systems),
        *functional_checks(systems, window),
        *action_checks(systems),
    ]
    checks = [
        *hosting_checks(systems, expectation),
        *service_checks(systems, expectation),
        connection,
        *(behind(answers, check) for check in of_the_database),
        *browser_checks(systems),
        *steady_checks(systems, expectation, window),
    ]
    return [window.during(check) for check in checks]


def checks_at_rest(systems: Systems, expectation: Expectation) -> list[Check]:
    """Those that can be asked while nothing may be written, and for which whoever changed the database answers: nothing
    emptied, nothing twice, indexes and sequences sound. What may have been amiss for long is not among them."""
    every = [*database_checks(systems, expectation), *schema_checks(systems, expectation)]
    return [check for check in every if check.name.endswith(AT_REST)]
