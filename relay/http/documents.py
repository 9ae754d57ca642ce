"""``/openapi.json`` and the pages under ``/docs``: written by the relay, with its own assets, for machines without
internet.

The pages are rendered once, on the server, from the OpenAPI document and the table of problems; a script only serves
the forms that try things out. Nothing is loaded from elsewhere, and the policy below says so to the browser.
"""

import re
from collections.abc import Callable
from functools import cache
from importlib import resources
from typing import Any

import msgspec
from jinja2 import Environment, FunctionLoader
from litestar import Controller, MediaType, Response, get
from litestar.exceptions import NotFoundException
from markupsafe import Markup, escape

from relay.http.parameters import Service
from relay.http.problem_kinds import PROBLEMS
from relay.http.request import RelayRequest
from relay.settings.presets import list_presets

_SAFE = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none';"
        " form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}
_CODE = re.compile(r"`([^`]+)`")
_PROBLEM_CODES = frozenset(code.value for code in PROBLEMS)
_METHODS = ("post", "get", "patch", "delete")
_LINK = re.compile(r"\[([^\]]+)\]\((/[^)]*)\)")


class Documents:
    """The document and the pages that are made of it, written when they are first asked for.

    Args:
        document: makes OpenAPI's.
    """

    def __init__(self, document: Callable[[], dict[str, Any]]) -> None:
        self._document = document
        self._written: dict[str, bytes] = {}

    def openapi(self) -> bytes:
        """The document, encoded."""
        if "openapi.json" not in self._written:
            self._written["openapi.json"] = msgspec.json.encode(self._document())
        return self._written["openapi.json"]

    def page(self, name: str) -> bytes:
        """A page of the reference."""
        if name not in self._written:
            self._written[name] = render_page(name, self._document())
        return self._written[name]


class OpenApiController(Controller):
    """The document."""

    @get("/openapi.json", media_type=MediaType.JSON, include_in_schema=False)
    async def document(self, documents: Service[Documents]) -> Response[bytes]:
        """OpenAPI 3.1."""
        return Response(documents.openapi(), headers={"cache-control": "no-cache"})


class PagesController(Controller):
    """The reference page, the page of problems, and their assets: one route label for all of them."""

    path = "/docs"
    include_in_schema = False
    opt = {"route": "/docs"}  # noqa: RUF012 — as litestar declares it

    @get("/", media_type=MediaType.HTML)
    async def reference(self, documents: Service[Documents]) -> Response[bytes]:
        """Every operation."""
        return Response(documents.page("reference.html"), headers=_SAFE)

    @get("/problems", media_type=MediaType.HTML)
    async def problems(self, documents: Service[Documents]) -> Response[bytes]:
        """Every problem code."""
        return Response(documents.page("problems.html"), headers=_SAFE)

    @get("/webhooks", media_type=MediaType.HTML)
    async def webhooks(self, documents: Service[Documents]) -> Response[bytes]:
        """What to enter at the senders of webhooks."""
        return Response(documents.page("webhooks.html"), headers=_SAFE)

    @get("/docs.css", media_type=MediaType.CSS)
    async def style(self) -> Response[bytes]:
        """The pages' style."""
        return Response(_read("docs.css").encode(), headers=_SAFE)

    @get("/docs.js", media_type="text/javascript")
    async def script(self) -> Response[bytes]:
        """What serves the forms that try things out."""
        return Response(_read("docs.js").encode(), headers=_SAFE)


class RootController(Controller):
    """The address alone leads to the reference."""

    include_in_schema = False

    @get("/", status_code=302, media_type=MediaType.TEXT)
    async def root(self, request: RelayRequest) -> Response[str]:
        """Lead to ``/docs``."""
        if request.scope["raw_path"] != b"/" or request.scope["query_string"]:
            raise NotFoundException
        return Response("", headers={"location": "/docs"})


@cache
def _read(name: str) -> str:
    return (resources.files("relay.http") / "assets" / name).read_text("utf-8")


def render_page(name: str, document: dict[str, Any]) -> bytes:
    """Render a page of the reference."""
    environment = Environment(autoescape=True, loader=FunctionLoader(_read))
    environment.filters.update(prose=_prose, example=_example, kind=_kind, reference=_kind, meaning=_meaning)
    return (
        environment.get_template(name)
        .render(
            info=document["info"],
            groups=_group(document),
            schemas=document["components"]["schemas"],
            problems={code.value: problem for code, problem in PROBLEMS.items()},
            presets=list_presets(),
        )
        .encode()
    )


def _group(document: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The operations by tag, sending before what can be done with what was sent; with their parameters resolved and
    every key that the page looks at."""
    parameters = document["components"]["parameters"]
    groups: dict[str, list[dict[str, Any]]] = {tag["name"]: [] for tag in document["tags"]}
    for path, methods in sorted(document["paths"].items()):
        for method, operation in sorted(methods.items(), key=lambda each: _METHODS.index(each[0])):
            named = [
                parameters[each["$ref"].rsplit("/", 1)[1]] if "$ref" in each else each
                for each in operation["parameters"]
            ]
            body = operation.get("requestBody", {}).get("content", {})
            described = operation | {"path": path, "method": method, "parameters": named, "body": body}
            groups[operation["tags"][0]].append(described)
    return {name: operations for name, operations in groups.items() if operations}


def _prose(text: Any) -> Markup:
    """Write a description: paragraphs, code and links, which is all that our own texts have."""
    if not isinstance(text, str):
        return Markup()
    paragraphs = []
    for paragraph in text.strip().split("\n\n"):
        marked = _CODE.sub(_code, str(escape(paragraph)))
        paragraphs.append(f"<p>{_LINK.sub(_link, marked)}</p>")
    return Markup("".join(paragraphs))  # noqa: S704 — escaped above; the texts are our own


def _code(found: re.Match[str]) -> str:
    """Mark code; what is a problem's code leads to its explanation."""
    if found[1] in _PROBLEM_CODES:
        return f'<a href="/docs/problems#{found[1]}"><code>{found[1]}</code></a>'
    return f"<code>{found[1]}</code>"


def _link(found: re.Match[str]) -> str:
    return f'<a href="{found[2]}">{found[1]}</a>'


def _example(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def _meaning(schema: dict[str, Any], schemas: dict[str, Any]) -> Markup:
    """What a field means: its own words, else those of the schema that it is."""
    named = schema.get("$ref", "").rsplit("/", 1)[-1]
    return _prose(schema.get("description") or schemas.get(named, {}).get("description"))


def _kind(schema: dict[str, Any]) -> Markup:
    """Say in words what a schema allows, with links to the schemas that it names."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return Markup('<a href="#schema-{0}">{0}</a>').format(name)
    alternatives = schema.get("anyOf") or schema.get("oneOf")
    if alternatives:
        return Markup(" or ").join(_kind(part) for part in alternatives)
    if schema.get("type") == "array":
        return Markup("list of {}").format(_kind(schema["items"]))
    if "enum" in schema:
        return Markup(", ").join(Markup("<code>{}</code>").format(value) for value in schema["enum"])
    return escape(schema.get("format") or schema.get("type") or "anything")
