"""Which deployments a list shows: the vendor's filters, and paging by milliseconds of creation. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from toolkit.drill.platform.deployments import Deployment
from toolkit.drill.platform.refusal import Refused
from toolkit.drill.platform.state import Project

MAX_LIMIT = 100


@dataclass(frozen=True)
class Page:
    """Newest first. `next` goes into `until` to get what is older; None when there is nothing."""

    deployments: list[Deployment]
    next: int | None
    prev: int | None

    @property
    def pagination(self) -> dict[str, int | None]:
        return {"count": len(self.deployments), "next": self.next, "prev": self.prev}


def list_deployments(project: Project, query: Mapping[str, str]) -> Page:
    """The page that the query of `GET /v6/deployments` or `/v7/deployments` asks for."""
    limit = _whole(query, "limit", 20)
    if not 1 <= limit <= MAX_LIMIT:
        raise Refused(400, "bad_request", f"Invalid request: `limit` should be between 1 and {MAX_LIMIT}.")
    chosen = [d for d in project.deployments if _fits(project, query, d)]
    page = chosen[:limit]
    return Page(
        page,
        next=page[-1].created_ms if len(chosen) > limit else None,
        prev=page[0].created_ms if page else None,
    )


def _fits(project: Project, query: Mapping[str, str], d: Deployment) -> bool:
    """Whether this deployment passes every filter of the query; a filter that is absent or empty passes all."""
    identity = project.identity
    states = {state for state in query.get("state", "").upper().split(",") if state}
    candidate = query.get("rollbackCandidate")
    meta = {"githubCommitRef": query.get("branch"), "githubCommitSha": query.get("sha")}
    meta |= {name.removeprefix("meta-"): value for name, value in query.items() if name.startswith("meta-")}
    return (
        query.get("projectId", identity.project_id) in (identity.project_id, identity.name)
        and query.get("app", identity.name) == identity.name
        and (not states or d.state in states)
        and query.get("target", d.target) == d.target
        and (not candidate or project.is_rollback_candidate(d) == (candidate in ("true", "1")))
        and all(d.created_ms > _whole(query, name, -1) for name in ("since", "from"))
        and all(d.created_ms < _whole(query, name, d.created_ms + 1) for name in ("until", "to"))
        and all(d.meta.get(name) == value for name, value in meta.items() if value)
    )


def _whole(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name)
    if not text:
        return default
    if not text.isascii() or not text.isdigit():
        raise Refused(400, "bad_request", f"Invalid request: `{name}` should be a number.")
    return int(text)
