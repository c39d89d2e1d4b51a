"""Does the service answer as it should? Health endpoints, pages, the figures that it shows, response times.

Figures are held against the database, counted before and after, because traffic goes on. It only sends GET.
"""

import csv
import io
import json
import statistics
from collections.abc import Callable, Mapping

from toolkit.adapters.postgres import sql
from toolkit.adapters.readings import relation
from toolkit.adapters.service import Answer
from toolkit.adapters.systems import Systems
from toolkit.adapters.timing import Timing
from toolkit.checks import Check, Finding, failed, judge, passed, unknown
from toolkit.errors import ServiceError
from toolkit.playbook import Figure
from toolkit.verify.expectation import Expectation
from toolkit.verify.once import Once, behind
from toolkit.verify.steady import allowed_ms

AREA = "service"
TIMING_SAMPLES = 5
FIGURE_SLACK = 2
PARTS = {"DNS": "name_lookup_ms", "connect": "connect_ms", "TLS": "tls_ms", "first byte": "first_byte_ms"}


def service_checks(systems: Systems, expectation: Expectation) -> list[Check]:
    """What an outsider sees.

    Where the service does not answer at all, it is not waited for again and again.
    """
    paths = systems.playbook.endpoints
    answers = Once(lambda: _require_an_answer(systems, paths.health))
    more = [
        *(
            Check(f"{path} answers as fast as before", "performance", _timing(systems, path, expectation))
            for path in paths.health_checks
        ),
        *(Check(f"{path} loads", AREA, _asking(_page, systems, path)) for path in paths.pages),
        *(Check(f"{path} can be read", AREA, _asking(_data, systems, path)) for path in paths.data),
    ]
    return [
        *(Check(f"{path} is healthy", AREA, _asking(_health, systems, path)) for path in paths.health_checks),
        *(behind(answers, check) for check in more),
    ]


def figure_checks(systems: Systems) -> list[Check]:
    """The figures that the service shows, against the database."""
    answers = Once(lambda: _require_an_answer(systems, systems.playbook.endpoints.health))
    return [
        behind(
            answers, Check(f"{_figure_name(figure)} agrees with {figure.table}", AREA, _figure_check(systems, figure))
        )
        for figure in systems.playbook.verification.figures
    ]


def _require_an_answer(systems: Systems, path: str) -> None:
    answer = systems.service.fetch(path)
    if answer.status_code is None:
        raise ServiceError(f"{path} gives no answer ({answer.error}); it was not asked again")


def _asking(look: Callable[[Systems, str], Finding], systems: Systems, path: str) -> Callable[[], Finding]:
    return lambda: look(systems, path)


def _health(systems: Systems, path: str) -> Finding:
    health = systems.service.probe(path)
    if health.status_code is None or health.error:
        return failed(f"no whole answer after {health.latency_ms:.0f} ms: {health.error}")
    evidence = f"{health.status_code}, {health.status or 'no status'}, {health.latency_ms:.0f} ms"
    tables = health.body.tables_count if health.body else None
    if tables is None:
        return judge(health.healthy, evidence)
    wanted = len(systems.playbook.database.critical_tables)
    return judge(health.healthy and tables == wanted, f"{evidence}, {tables} of {wanted} critical tables")


def response_times(systems: Systems, path: str) -> list[Timing]:
    """A few requests to a path, each over a connection of its own; none after one that failed."""
    timings: list[Timing] = []
    while len(timings) < TIMING_SAMPLES and not (timings and timings[-1].error):
        timings += systems.service.timings(path, 1)
    return timings


def median_ms(timings: list[Timing]) -> float | None:
    """The median of those that were answered in full; None where one was not."""
    if any(timing.error for timing in timings):
        return None
    return round(statistics.median(timing.total_ms for timing in timings), 2)


def _timing(systems: Systems, path: str, expectation: Expectation) -> Callable[[], Finding]:
    def look() -> Finding:
        timings = response_times(systems, path)
        now, before = median_ms(timings), expectation.baseline.latencies.get(path)
        if now is None:
            return failed(f"{next(timing.error for timing in timings if timing.error)} in {len(timings)} requests")
        parts = expectation.baseline.latency_parts.get(path, {})
        evidence = f"median of {len(timings)}: {now:.0f} ms{_told_parts(broken_down(timings))}"
        if before is None:
            return unknown(f"{evidence}; no latency was recorded to compare with")
        allowed = allowed_ms(before, systems.thresholds)
        evidence += f"; before: {before:.0f} ms{_told_parts(parts)}; allowed: {allowed:.0f} ms"
        return judge(now <= allowed, evidence)

    return look


def broken_down(timings: list[Timing]) -> dict[str, float]:
    """`curl -w`'s parts, as far as they are known, in milliseconds: medians, each since the request's start."""
    parts = {}
    for word, name in PARTS.items():
        known = [value for timing in timings if (value := getattr(timing, name)) is not None]
        if known:
            parts[word] = round(statistics.median(known), 2)
    return parts


def _told_parts(parts: Mapping[str, float]) -> str:
    """`(DNS 1, connect 2, TLS 20, first byte 28)`; '' where nothing is known."""
    return f" ({', '.join(f'{word} {ms:.0f}' for word, ms in parts.items())})" if parts else ""


def _page(systems: Systems, path: str) -> Finding:
    answer = systems.service.fetch(path)
    kind = (answer.headers or {}).get("content-type", "no type")
    whole = answer.truncated or "</html>" in answer.text.lower()
    return judge(answer.acknowledged and "html" in kind and whole, _told(answer))


def _data(systems: Systems, path: str) -> Finding:
    answer = systems.service.fetch(path)
    if not answer.acknowledged:
        return failed(_told(answer))
    if "json" in (answer.headers or {}).get("content-type", "") and not answer.truncated:
        try:
            json.loads(answer.text)
        except ValueError:
            return failed(f"{_told(answer)}; it says it is JSON and is not")
    return judge(answer.size > 0, _told(answer))


def _told(answer: Answer) -> str:
    if answer.status_code is None:
        return f"no answer after {answer.ms:.0f} ms: {answer.error}"
    broke = f", then {answer.error}" if answer.error else ""
    kind = (answer.headers or {}).get("content-type", "no type")
    return f"{answer.status_code}, {kind}, {answer.size:,} bytes, {answer.ms:.0f} ms{broke}"


def _figure_name(figure: Figure) -> str:
    return f"{figure.field} of {figure.path}" if figure.field else f"the lines of {figure.path}"


def _figure_check(systems: Systems, figure: Figure) -> Callable[[], Finding]:
    def look() -> Finding:
        before = _counted(systems, figure)
        answer = systems.service.fetch(figure.path)
        after = _counted(systems, figure)
        if not answer.acknowledged:
            return failed(_told(answer))
        lowest, highest = min(before, after) - FIGURE_SLACK, max(before, after) + FIGURE_SLACK
        return (
            _judge_json(answer, figure.field, lowest, highest) if figure.field else _judge_csv(answer, lowest, highest)
        )

    return look


def _counted(systems: Systems, figure: Figure) -> int:
    """How many rows the figure should show, by the database."""
    recent: sql.Composable = sql.SQL("true")
    parameters = {}
    if figure.time and figure.days:
        recent = sql.SQL("{} >= now() - make_interval(days => %(days)s)").format(sql.Identifier(figure.time))
        parameters = {"days": figure.days}
    query = sql.SQL("SELECT count(*) FROM {} WHERE {}").format(relation(figure.table), recent)
    with systems.database.reading() as conn:
        row = conn.execute(query, parameters).fetchone()
    assert row is not None
    return min(int(row[0]), figure.at_most) if figure.at_most else int(row[0])


def _judge_json(answer: Answer, field: str, lowest: int, highest: int) -> Finding:
    try:
        shown = json.loads(answer.text)[field]
    except (ValueError, KeyError, TypeError):
        return failed(f"{_told(answer)}; it has no {field}")
    fits = isinstance(shown, int | float) and lowest <= shown <= highest
    return judge(fits, f"it shows {shown}; the database counts {lowest + FIGURE_SLACK} to {highest - FIGURE_SLACK}")


def _judge_csv(answer: Answer, lowest: int, highest: int) -> Finding:
    """A header and as many lines as rows. Of a file too long to be read whole, what was read must be well-formed."""
    rows = list(csv.reader(io.StringIO(answer.text)))
    if answer.truncated:
        rows = rows[:-1]
    if not rows or not all(rows[0]) or any(len(row) != len(rows[0]) for row in rows):
        return failed(f"{_told(answer)}; it is no table with a header")
    lines, counted = len(rows) - 1, f"the database counts {lowest + FIGURE_SLACK} to {highest - FIGURE_SLACK}"
    if answer.truncated:
        evidence = f"{lines:,} lines in the first {answer.size:,} bytes, the rest was not read; {counted}"
        return passed(evidence) if lines <= highest else failed(evidence)
    return judge(lowest <= lines <= highest, f"a header and {lines:,} lines; {counted}")
