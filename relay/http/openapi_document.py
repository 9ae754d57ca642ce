"""The OpenAPI 3.1 document: litestar's, from its own list of handlers, with what it cannot say laid over it.

litestar gives paths, operations, parameters and texts; answers and bodies are what handlers describe (``openapi``),
and schemas are msgspec's own, from the structs that decode and encode: litestar's drop patterns, limits and
``additionalProperties: false``.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import Any

from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.spec import License
from litestar.routes import HTTPRoute
from msgspec import Struct
from msgspec import inspect as types

from relay import __version__
from relay.checking import bare_type
from relay.domain.codes import ProblemCode
from relay.domain.errors import FieldError
from relay.domain.notification import Hit
from relay.http.answers import AcceptedItem
from relay.http.openapi import ALWAYS, TEXT, DescribedOperation
from relay.http.openapi_components import HEADERS, PARAMETERS, TAGS, callbacks, schemas_of
from relay.http.parameters import parameters_of
from relay.http.problems import PROBLEMS, TYPE_PREFIX
from relay.http.schemas import BatchItem

_INTRODUCTION = """\
One service through which every other service sends SMS over smsclone.com.

Send `Authorization: Bearer rk_<id>_<secret>` with every request under `/v1`. Errors are problem documents (RFC 9457)
whose `code` is one of a closed set; [each is explained here](/docs/problems). `retry_safe` tells whether sending the
same again can bring a second SMS. Every answer carries `X-Request-Id`.
"""


def make_config() -> OpenAPIConfig:
    """What litestar's generator is told; its own pages are not served."""
    return OpenAPIConfig(
        title="Relay",
        version=__version__,
        summary="SMS over smsclone.com: never twice, never lost, never leaked.",
        description=_INTRODUCTION,
        license=License("Apache-2.0", identifier="Apache-2.0"),
        path="/schema",
    )


def openapi_document(app: Litestar) -> dict[str, Any]:
    """Write the document of an application that was made with :func:`make_config`."""
    document = app.openapi_schema.to_schema()
    kinds: dict[type[Struct | StrEnum], None] = dict.fromkeys((FieldError, Hit, BatchItem, AcceptedItem))
    codes: set[ProblemCode] = set()
    for handler, operation in _operations(app, document["paths"]):
        if not issubclass(handler.operation_class, DescribedOperation):
            raise TypeError(f"{handler} has no operation_class=described(…), which says what it answers")
        _complete(handler, operation)
        kinds |= dict.fromkeys((*_structs(handler), *_enums(handler)))
        codes.update((*handler.operation_class.problems, *handler.operation_class.come_again, *ALWAYS))
    return {
        "openapi": "3.1.0",
        "info": document["info"],
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": document["paths"],
        "webhooks": callbacks(),
        "components": {
            "schemas": schemas_of(kinds),
            "parameters": PARAMETERS,
            "headers": {name: {"description": text, "schema": TEXT} for name, text in HEADERS.items()},
            "examples": {code.value: _problem_example(code) for code in ProblemCode if code in codes},
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "A key that `relay keys new` made."},
                "basic": {"type": "http", "scheme": "basic", "description": "The key as the password, any user name."},
            },
        },
    }


def _operations(app: Litestar, paths: dict[str, Any]) -> Iterator[tuple[HTTPRouteHandler, dict[str, Any]]]:
    """Every handler that is described, with its operation, in the order of the document."""
    handlers = {
        (route.path_format, method.lower()): handler
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
        for method in handler.http_methods
    }
    for path, methods in paths.items():
        for method, operation in methods.items():
            yield handlers[path, method], operation


def _complete(handler: HTTPRouteHandler, operation: dict[str, Any]) -> None:
    """Add what the handler's ``opt`` says: permission, and headers that are read."""
    permission = handler.opt.get("permission")
    operation.setdefault("security", [] if permission is None else [{"key": []}])
    parameters = [_parameter(each) for each in operation.get("parameters", ())]
    if permission is not None:
        operation["description"] += f"\n\nNeeds the permission `{permission.value}`."
        read = {"IdempotencyKey": "idempotency_key", "Prefer": "prefer"}
        names = [name for name, key in read.items() if key in handler.opt]
        parameters += [{"$ref": f"#/components/parameters/{name}"} for name in (*names, "RequestId")]
    operation["parameters"] = parameters


def _parameter(parameter: dict[str, Any]) -> dict[str, Any]:
    """A parameter that is left out is not there: it is never null."""
    described = parameter["schema"]
    kinds = described.pop("allOf", None) or described.pop("oneOf", None) or []
    schema = {
        name: int(value) if isinstance(value, float) else value
        for name, value in described.items()
        if name not in ("default", "description")
    }
    for kind in kinds:
        if kind.get("type") != "null":
            schema |= kind
    names = ("name", "in", "required", "description")
    return {name: parameter[name] for name in names if name in parameter} | {"schema": schema}


def _structs(handler: HTTPRouteHandler) -> Iterator[type[Struct]]:
    described_by: Any = handler.operation_class
    for content in (*described_by.takes, *(each for answer in described_by.answers for each in answer.contents)):
        if isinstance(content.schema, type):
            yield content.schema


def _enums(handler: HTTPRouteHandler) -> Iterator[type[StrEnum]]:
    """The enums among a handler's parameters."""
    parameters = parameters_of(handler)
    for field in (*parameters.path.values(), *parameters.query.values()):
        node = bare_type(types.type_info(field.kind))
        if isinstance(node, types.EnumType) and issubclass(node.cls, StrEnum):
            yield node.cls


def _problem_example(code: ProblemCode) -> dict[str, Any]:
    kind = PROBLEMS[code]
    value = {
        "type": TYPE_PREFIX + code.value,
        "title": kind.title,
        "status": kind.status,
        "code": code.value,
        "detail": kind.cause,
        **({} if kind.retry_safe is None else {"retry_safe": kind.retry_safe}),
        "request_id": "0192f3c4-5b1e-7000-8000-000000000001",
    }
    return {"summary": kind.title, "value": value}
