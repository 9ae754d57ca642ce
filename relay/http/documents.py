"""``/openapi.json`` and the pages under ``/docs``: written by the relay, with its own assets, for machines without
internet.

The pages are rendered once, on the server, from the OpenAPI document and the table of problems; a script only serves
the forms that try things out. Nothing is loaded from elsewhere, and the policy below says so to the browser.
"""

import re
from functools import cache
from importlib import resources
from typing import Any

import msgspec
from jinja2 import Environment, FunctionLoader
from markupsafe import Markup, escape

from relay.http.exchange import Endpoint, Exchange, Header, Reply, Route
from relay.http.openapi import openapi_document
from relay.http.problem_kinds import PROBLEMS

__all__ = ["DocumentPages", "openapi_document"]

DOCS = "/docs"
"""The route label of everything below it."""

_HTML = b"text/html; charset=utf-8"
_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none';"
    b" form-action 'none'; frame-ancestors 'none'"
)
_SAFE: tuple[Header, ...] = (
    (b"content-security-policy", _POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-cache"),
)
_CODE = re.compile(r"`([^`]+)`")
_LINK = re.compile(r"\[([^\]]+)\]\((/[^)]*)\)")


class DocumentPages:
    """The endpoints for readers.

    Args:
        openapi, docs: whether they are served.
    """

    def __init__(self, *, openapi: bool = True, docs: bool = True) -> None:
        self._openapi = openapi
        self._docs = docs

    def routes(self) -> list[Route]:
        """What is served here."""
        routes: list[Route] = []
        if self._openapi:
            routes.append(Route("GET", "/openapi.json", _openapi))
        if self._docs:
            routes += [
                Route("GET", DOCS, _page("reference.html")),
                Route("GET", f"{DOCS}/problems", _page("problems.html")),
                Route("GET", f"{DOCS}/docs.css", _asset("docs.css", b"text/css; charset=utf-8")),
                Route("GET", f"{DOCS}/docs.js", _asset("docs.js", b"text/javascript; charset=utf-8")),
            ]
        return routes


async def _openapi(exchange: Exchange) -> Reply:
    del exchange
    return Reply(200, _encoded_document(), headers=((b"cache-control", b"no-cache"),))


def _page(name: str) -> Endpoint:
    async def serve(exchange: Exchange) -> Reply:
        exchange.route = DOCS
        return Reply(200, render_page(name), _HTML, _SAFE)

    return serve


def _asset(name: str, content_type: bytes) -> Endpoint:
    async def serve(exchange: Exchange) -> Reply:
        exchange.route = DOCS
        return Reply(200, _read(name).encode(), content_type, _SAFE)

    return serve


@cache
def _encoded_document() -> bytes:
    return msgspec.json.encode(openapi_document())


@cache
def _read(name: str) -> str:
    return (resources.files("relay.http") / "assets" / name).read_text("utf-8")


@cache
def render_page(name: str) -> bytes:
    """Render a page of the reference; the same for the whole life of the process."""
    environment = Environment(autoescape=True, loader=FunctionLoader(_read))
    environment.filters.update(prose=_prose, example=_example, kind=_kind, reference=_kind)
    document = openapi_document()
    return (
        environment.get_template(name)
        .render(
            info=document["info"],
            groups=_group(document),
            schemas=document["components"]["schemas"],
            problems={code.value: problem for code, problem in PROBLEMS.items()},
        )
        .encode()
    )


def _group(document: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The operations by tag, with their parameters resolved and every key that the page looks at."""
    parameters = document["components"]["parameters"]
    groups: dict[str, list[dict[str, Any]]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            named = [parameters[reference["$ref"].rsplit("/", 1)[1]] for reference in operation["parameters"]]
            body = operation.get("requestBody", {}).get("content", {})
            described = operation | {"path": path, "method": method, "parameters": named, "body": body}
            groups.setdefault(operation["tags"][0], []).append(described)
    return groups


def _prose(text: Any) -> Markup:
    """Write a description: paragraphs, code and links, which is all that our own texts have."""
    if not isinstance(text, str):
        return Markup()
    paragraphs = []
    for paragraph in text.strip().split("\n\n"):
        marked = _CODE.sub(r"<code>\1</code>", str(escape(paragraph)))
        paragraphs.append(f"<p>{_LINK.sub(_link, marked)}</p>")
    return Markup("".join(paragraphs))  # noqa: S704 — escaped above; the texts are our own


def _link(found: re.Match[str]) -> str:
    return f'<a href="{found[2]}">{found[1]}</a>'


def _example(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


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
