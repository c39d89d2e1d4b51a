"""What a reader asks for in the query: which company, which page, which status. Anything odd is refused with 400."""

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from toolkit.drill.service.database import EVERY_COMPANY

STATUSES = ("open", "recovered", "cancelled", "terminated")
PAGE_SIZE, LARGEST_PAGE, LAST_PAGE = 50, 200, 1_000_000


class BadQuestionError(ValueError):
    """A query that cannot be answered; its text names the parameter."""


@dataclass(frozen=True)
class Page:
    """A page of a list, from 1."""

    number: int
    size: int

    @property
    def offset(self) -> int:
        return (self.number - 1) * self.size


def company_of(request: Request) -> str:
    """The `company_id` of the query, '*' (every company) without one."""
    company = request.query_params.get("company_id", EVERY_COMPANY)
    if not 1 <= len(company) <= 200 or "\x00" in company:
        raise BadQuestionError("company_id")
    return company


def page_of(request: Request) -> Page:
    """`page` from 1 and `page_size` of at most LARGEST_PAGE."""
    return Page(_whole(request, "page", 1, LAST_PAGE), _whole(request, "page_size", PAGE_SIZE, LARGEST_PAGE))


def status_of(request: Request) -> str | None:
    """The `status` to list, None for all."""
    status = request.query_params.get("status")
    if status is not None and status not in STATUSES:
        raise BadQuestionError("status")
    return status


def refuse_bad_question(_request: Request, error: Exception) -> Response:
    return JSONResponse({"error": "bad_request", "parameter": str(error)}, status_code=400)


def _whole(request: Request, name: str, default: int, largest: int) -> int:
    text = request.query_params.get(name, str(default))
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text[:20]) <= largest:
        raise BadQuestionError(name)
    return int(text)
