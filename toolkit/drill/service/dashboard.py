"""What a company sees: its figures over 14 days, its cases, an export, and a page with all of it.

It reads only. It never shows who a member is: user ids stay in the database.
"""

import csv
import io
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from uuid import UUID

from jinja2 import Environment as Templates
from jinja2 import FileSystemLoader
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from toolkit.clock import iso, utc_now
from toolkit.drill.service.builds import Build
from toolkit.drill.service.database import Connection, Database
from toolkit.drill.service.notice import Notice
from toolkit.drill.service.questions import Page, company_of, page_of, status_of

WINDOW_DAYS = 14
EXPORT_ROWS = 5_000

TEMPLATES = Templates(loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True, auto_reload=False)

Row = Mapping[str, object]


class Dashboard:
    """The dashboard's page, its data, and the settings' page."""

    def __init__(self, database: Database, build: Build, notice: Notice) -> None:
        self._database, self._build, self._notice = database, build, notice

    async def kpis(self, request: Request) -> Response:
        """GET /api/dashboard/kpis."""
        company = company_of(request)
        async with self._database.transaction(company) as conn:
            figures = await self._figures(conn)
        return JSONResponse({"companyId": company, "windowDays": WINDOW_DAYS, "updatedAt": iso(utc_now())} | figures)

    async def cases(self, request: Request) -> Response:
        """GET /api/dashboard/cases: a page of cases and how many there are."""
        page, status = page_of(request), status_of(request)
        async with self._database.transaction(company_of(request)) as conn:
            rows = await self._list(conn, page, status)
            total = await (
                await conn.execute(
                    """
                    SELECT count(*) AS cases
                    FROM recovery_cases
                    WHERE %(status)s::text IS NULL OR status = %(status)s
                    """,
                    {"status": status},
                )
            ).fetchone()
        return JSONResponse(
            {
                "page": page.number,
                "pageSize": page.size,
                "total": total["cases"] if total else 0,
                "cases": [{_camel(name): _plain(value) for name, value in row.items()} for row in rows],
            }
        )

    async def export(self, request: Request) -> Response:
        """GET /api/cases/export.csv: the EXPORT_ROWS newest cases, with a header line."""
        async with self._database.transaction(company_of(request)) as conn:
            rows = await self._list(conn, Page(1, EXPORT_ROWS), status_of(request))
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(EXPORTED)
        writer.writerows([_plain(row[name]) for name in EXPORTED] for row in rows)
        headers = {"content-disposition": 'attachment; filename="recovery-cases.csv"'}
        return Response(text.getvalue(), media_type="text/csv; charset=utf-8", headers=headers)

    async def page(self, request: Request) -> Response:
        """GET /dashboard."""
        company = company_of(request)
        async with self._database.transaction(company) as conn:
            figures = await self._figures(conn)
            rows = await self._list(conn, Page(1, 15), None)
        page = TEMPLATES.get_template("dashboard.html")
        notice = await self._notice.text()
        return HTMLResponse(page.render(company=company, figures=figures, cases=rows, days=WINDOW_DAYS, notice=notice))

    async def settings(self, request: Request) -> Response:
        """GET /settings: what companies have chosen. Read only here."""
        company = company_of(request)
        async with self._database.transaction(company) as conn:
            rows = await (await conn.execute(self._build.list_settings)).fetchall()
        page, notice = TEMPLATES.get_template("settings.html"), await self._notice.text()
        return HTMLResponse(page.render(company=company, settings=rows, notice=notice))

    async def _figures(self, conn: Connection) -> dict[str, float | int]:
        row = await (await conn.execute(self._build.kpis)).fetchone()
        assert row is not None
        cases, recovered = int(row["cases"]), int(row["recovered_cases"])
        return {
            "cases": cases,
            "openCases": row["open_cases"],
            "recoveredCases": recovered,
            "endedCases": row["ended_cases"],
            "recoveryRate": round(recovered / cases, 4) if cases else 0.0,
            "recoveredAmountCents": row["recovered_amount_cents"],
            "nudges": row["nudges"],
        }

    async def _list(self, conn: Connection, page: Page, status: str | None) -> list[dict[str, object]]:
        cursor = await conn.execute(
            self._build.list_cases, {"status": status, "limit": page.size, "offset": page.offset}
        )
        return await cursor.fetchall()


EXPORTED = (
    "id",
    "company_id",
    "membership_id",
    "status",
    "failure_reason",
    "first_failure_at",
    "last_nudge_at",
    "attempts",
    "incentive_days",
    "recovered_at",
    "recovered_amount_cents",
)


def _plain(value: object) -> object:
    """A value as JSON and CSV take it."""
    if isinstance(value, datetime):
        return iso(value)
    return str(value) if isinstance(value, UUID) else value


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.title() for word in others)
