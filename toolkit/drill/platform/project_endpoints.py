"""The API's endpoints about the project: itself, its rollback and promote, its variables."""

from pydantic import BaseModel, ConfigDict, SecretStr
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from toolkit.drill.platform.answers import JSON, Endpoint, read_json, read_objects, truth, validated
from toolkit.drill.platform.environment import Variable
from toolkit.drill.platform.operations import Platform, now_ms
from toolkit.drill.platform.refusal import Refused
from toolkit.drill.platform.wire import project_body, single


class NewVariable(BaseModel):
    """The body of a create. The value is kept out of every error and representation."""

    model_config = ConfigDict(hide_input_in_errors=True)

    key: str
    value: SecretStr
    type: str
    target: list[str] | str


class ChangedVariable(BaseModel):
    """The body of an edit: what is left out stays as it is."""

    model_config = ConfigDict(hide_input_in_errors=True)

    key: str | None = None
    value: SecretStr | None = None
    type: str | None = None
    target: list[str] | str | None = None


class ProjectEndpoints:
    """Bound to one platform; `routes` is what the application mounts."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._project = platform.project
        self._variables = platform.project.environment

    @property
    def routes(self) -> list[Route]:
        """Each checks that the path names this project."""
        table: list[tuple[str, str, Endpoint]] = [
            ("GET", "/v9/projects/{project}", self.get),
            ("GET", "/projects/{project}/production-deployment", self.production),
            ("POST", "/v1/projects/{project}/rollback/{deployment}", self.rollback),
            ("POST", "/v9/projects/{project}/rollback/{deployment}", self.rollback),
            ("POST", "/v10/projects/{project}/promote/{deployment}", self.promote),
            ("GET", "/v9/projects/{project}/rollback/aliases", self.remapped),
            ("GET", "/v9/projects/{project}/promote/aliases", self.remapped),
            ("GET", "/v1/projects/{project}/promote/aliases", self.remapped),
            ("GET", "/v9/projects/{project}/env", self.variables),
            ("GET", "/v10/projects/{project}/env", self.variables),
            ("POST", "/v10/projects/{project}/env", self.create_variables),
            ("PATCH", "/v9/projects/{project}/env/{variable}", self.edit_variable),
            ("PATCH", "/v10/projects/{project}/env/{variable}", self.edit_variable),
            ("DELETE", "/v9/projects/{project}/env/{variable}", self.remove_variable),
            ("DELETE", "/v10/projects/{project}/env/{variable}", self.remove_variable),
        ]
        return [Route(path, self._of_this_project(endpoint), methods=[verb]) for verb, path, endpoint in table]

    async def get(self, request: Request) -> Response:
        wanted = truth(request.query_params.get("rollbackInfo"))
        return JSONResponse(project_body(self._project, rollback_info=wanted))

    async def production(self, request: Request) -> Response:
        if not self._project.production:
            raise Refused(404, "not_found", "No production deployment.")
        return JSONResponse({"deployment": single(self._project, self._project.production)})

    # The alias

    async def rollback(self, request: Request) -> Response:
        body = await read_json(request)
        told = request.query_params.get("description") or body.get("description")
        self._platform.rollback(request.path_params["deployment"], str(told) if told else None)
        return JSONResponse({}, 201)

    async def promote(self, request: Request) -> Response:
        self._platform.promote(request.path_params["deployment"])
        return JSONResponse({}, 201)

    async def remapped(self, request: Request) -> Response:
        """How each production alias fared in the latest rollback or promote."""
        latest = self._project.alias_request
        status = {"succeeded": "completed", "skipped": "skipped", "failed": "failed"}.get(
            latest.status if latest else ""
        )
        failed_only = truth(request.query_params.get("failedOnly"))
        aliases: list[JSON] = []
        if latest and (status == "failed" or not failed_only):
            aliases = [
                {
                    "id": f"als_{n}",
                    "status": status or "in-progress",
                    "alias": {"alias": n, "deploymentId": latest.to_id},
                }
                for n in self._project.identity.aliases
            ]
        return JSONResponse({"aliases": aliases, "pagination": {"count": len(aliases), "next": None, "prev": None}})

    # Variables

    async def variables(self, request: Request) -> Response:
        envs = [v.shown() for v in self._variables.all(request.query_params.get("target"))]
        return JSONResponse({"envs": envs, "pagination": {"count": len(envs), "next": None, "prev": None}})

    async def create_variables(self, request: Request) -> Response:
        """One object, or an array of them, of which some may fail."""
        upsert = truth(request.query_params.get("upsert"))
        body = await read_objects(request)
        if isinstance(body, dict):
            return JSONResponse({"created": self._create(body, upsert).shown(), "failed": []}, 201)
        created, failed = [], []
        for each in body:
            try:
                created.append(self._create(each, upsert).shown())
            except Refused as refused:
                failed.append(refused.body())
        return JSONResponse({"created": created, "failed": failed}, 201)

    async def edit_variable(self, request: Request) -> Response:
        body = validated(ChangedVariable, await read_json(request))
        changed = self._variables.edit(
            request.path_params["variable"],
            now_ms=now_ms(),
            key=body.key,
            value=body.value.get_secret_value() if body.value is not None else None,
            type_=body.type,
            targets=[body.target] if isinstance(body.target, str) else body.target,
        )
        return JSONResponse(changed.shown())

    async def remove_variable(self, request: Request) -> Response:
        return JSONResponse(self._variables.remove(request.path_params["variable"]).shown())

    def _create(self, body: object, upsert: bool) -> Variable:
        new = validated(NewVariable, body)
        targets = [new.target] if isinstance(new.target, str) else new.target
        value = new.value.get_secret_value()
        return self._variables.create(new.key, value, new.type, targets, now_ms=now_ms(), upsert=upsert)

    def _of_this_project(self, endpoint: Endpoint) -> Endpoint:
        identity = self._project.identity

        async def checked(request: Request) -> Response:
            if request.path_params["project"] not in (identity.project_id, identity.name):
                raise Refused(404, "not_found", "Project not found.")
            return await endpoint(request)

        return checked
