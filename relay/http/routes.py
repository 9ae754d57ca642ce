"""The routes of the API as one closed table: what a path can do, and the label that it has in metrics and logs."""

import re
from collections.abc import Iterable

from relay.http.exchange import Route

_PLACEHOLDER = re.compile(r"\\{[a-z_]+\\}")


class RouteTable:
    """Tells what a path allows, for the answers that no endpoint gives: 405 and OPTIONS."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)
        methods: dict[str, list[str]] = {}
        for route in self.routes:
            methods.setdefault(route.path, []).append(route.method)
        self._methods = {path: _complete(names) for path, names in methods.items()}
        self._patterns = [
            (re.compile(_PLACEHOLDER.sub("[^/]+", re.escape(path))), path) for path in methods if "{" in path
        ]

    def find_template(self, path: str) -> str | None:
        """Give the template that a path matches; several slashes, or one at the end, make no difference."""
        path = "/" + "/".join(part for part in path.split("/") if part)
        if path in self._methods:
            return path
        return next((template for pattern, template in self._patterns if pattern.fullmatch(path)), None)

    def allow(self, template: str) -> bytes:
        """The value of the ``Allow`` header."""
        return self._methods[template]


def _complete(methods: list[str]) -> bytes:
    head = ["HEAD"] if "GET" in methods else []
    return ", ".join([*methods, *head, "OPTIONS"]).encode("ascii")
