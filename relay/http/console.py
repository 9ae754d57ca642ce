"""``/console``: the operator's page with its own assets, for a browser that trusts nothing but this relay.

The page holds no data. What it shows it asks the API for, with the key that the operator types in and that stays in the
page's memory; so the page itself needs no key. The policy lets it load from and talk to this relay alone, and nobody
may frame it or keep it.
"""

from collections.abc import Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType

from litestar import Controller, Response, get

FILES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "/console": ("http/assets/console/console.html", "text/html; charset=utf-8"),
        "/console/look.css": ("look/look.css", "text/css; charset=utf-8"),
        "/console/console.css": ("http/assets/console/console.css", "text/css; charset=utf-8"),
        "/console/console.js": ("http/assets/console/console.js", "text/javascript; charset=utf-8"),
        "/console/icon.svg": ("http/assets/console/icon.svg", "image/svg+xml"),
    }
)
"""Path → file below the package, and its type. The sandbox's inbox has the same ``look.css``."""

HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "content-security-policy": (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
            " base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script';"
            " trusted-types 'none'"
        ),
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "permissions-policy": "camera=(), geolocation=(), microphone=()",
    }
)
"""Of every answer below ``/console``."""


@cache
def read_file(path: str) -> bytes:
    """What is served at a path of ``FILES``."""
    return resources.files("relay").joinpath(FILES[path][0]).read_bytes()


class ConsoleController(Controller):
    """The page and its assets: one route label for all of them."""

    path = "/console"
    include_in_schema = False
    opt = {"route": "/console"}  # noqa: RUF012 — as litestar declares it

    @get("/")
    async def page(self) -> Response[bytes]:
        """The page."""
        return _serve("/console")

    @get("/look.css")
    async def look(self) -> Response[bytes]:
        """What it shares with the sandbox's inbox."""
        return _serve("/console/look.css")

    @get("/console.css")
    async def style(self) -> Response[bytes]:
        """Its own style."""
        return _serve("/console/console.css")

    @get("/console.js")
    async def script(self) -> Response[bytes]:
        """What asks the API and draws the answers."""
        return _serve("/console/console.js")

    @get("/icon.svg")
    async def icon(self) -> Response[bytes]:
        """Its icon."""
        return _serve("/console/icon.svg")


def _serve(path: str) -> Response[bytes]:
    return Response(read_file(path), headers={"content-type": FILES[path][1], **HEADERS})
