"""The path of one synchronous send through the relay, by tracing: functions, files, changes of package, types.

    PYTHONPATH=tests python tests/tools/path.py [--list]

A relay in this process, with a SQLite journal and an upstream on a loopback socket, gets one request after another.
Counted is what runs for the request alone (by a context variable, which tasks and callbacks inherit; the journal's
thread counts as well), from the call of the ASGI application to the first byte of the GET on the socket, and from there
to the end of the answer. Lambdas, comprehensions and properties of libraries are not counted; a function counts once.
Types are the relay's own classes, enums and exceptions excepted, of which an instance was made on the way.
"""

import argparse
import asyncio
import gc
import hashlib
import io
import json
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from enum import Enum
from itertools import pairwise
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import msgspec

from relay.app.composition import Relay
from relay.settings import load_settings
from support.upstream import running_upstream

ROOT = Path(__file__).parents[2] / "relay"
KEY = "rk_path_" + "k" * 43
WARM_UP = 20
TRACES = 5

_ours: ContextVar[bool] = ContextVar("ours", default=False)


class Trace:
    """What one request called, in the order of first calls; ``sent_at`` is how many came before the GET's bytes."""

    def __init__(self) -> None:
        self.functions: dict[tuple[str, str], None] = {}
        self.types: dict[type, None] = {}
        self.sent_at: int | None = None
        self.types_sent_at: int | None = None
        self._before = {id(item) for item in gc.get_objects() if isinstance(item, msgspec.Struct | tuple)}
        self._main = threading.get_ident()

    def __call__(self, frame: FrameType, event: str, value: object) -> None:
        """Take an event of ``sys.setprofile``."""
        if event not in ("call", "return") or (threading.get_ident() == self._main and not _ours.get()):
            return
        code = frame.f_code
        if self.sent_at is None and code.co_name == "write" and _is_relays(frame.f_back, "smsclone"):
            self.sent_at, self.types_sent_at = len(self.functions), len(self.types)
        name = _name_of(code)
        if name is None:
            return
        if event == "call":
            self.functions.setdefault(name)
            if code.co_name == "__init__" and "self" in frame.f_locals:
                self._see(type(frame.f_locals["self"]))
            return
        for item in (value, *frame.f_locals.values()):
            self._look_at(item)

    def _look_at(self, item: object) -> None:
        if isinstance(item, msgspec.Struct) or (isinstance(item, tuple) and hasattr(item, "_fields")):
            if id(item) not in self._before:
                self._see(type(item))
        elif isinstance(item, list | tuple) and item and len(item) < 10:
            for inner in item:
                self._look_at(inner)

    def _see(self, kind: type) -> None:
        if kind.__module__.startswith("relay.") and not issubclass(kind, Enum | BaseException):
            self.types.setdefault(kind)


def _name_of(code: CodeType) -> tuple[str, str] | None:
    path = Path(code.co_filename)
    if code.co_name.startswith("<") or ROOT not in path.parents:
        return None
    return str(path.relative_to(ROOT)), code.co_qualname


def _is_relays(frame: FrameType | None, package: str) -> bool:
    return frame is not None and ROOT / package in Path(frame.f_code.co_filename).parents


SETTINGS = f"""
[journal]
url = "sqlite:///{{directory}}/relay.db"
[[clients]]
name = "path"
keys = [{{{{ id = "path", sha256 = "{hashlib.sha256(KEY.encode()).hexdigest()}" }}}}]
senders = ["ACME"]
"""


async def send(application: Any, number: int) -> bytes:
    """One request through the application, as a server would call it."""
    body = json.dumps({"sender": "ACME", "recipients": [f"0801{number:07}"], "message": "Your code is 1204."}).encode()
    headers = {
        "host": "relay",
        "authorization": f"Bearer {KEY}",
        "content-type": "application/json",
        "content-length": str(len(body)),
    }
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/v1/notifications",
        "raw_path": b"/v1/notifications",
        "root_path": "",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
    }
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    async def write(message: Any) -> None:
        sent.append(message)

    await application(scope, receive, write)
    assert sent[0]["status"] == 200, sent
    return b"".join(message.get("body", b"") for message in sent)


async def record(directory: Path) -> Trace:
    """Trace several sends, and give the shortest: nothing but the request ran in it."""
    settings = directory / "relay.toml"
    settings.write_text(SETTINGS.format(directory=directory))
    with running_upstream() as upstream:
        account = {"BASE_URL": upstream.base_url, "USERNAME": "demo", "PASSWORD": "demo"}
        relay = Relay(
            load_settings({f"RELAY_SMSCLONE_{name}": value for name, value in account.items()}, settings), io.BytesIO()
        )
        current: list[Trace] = []

        def profile(frame: FrameType, event: str, value: object) -> None:
            if current:
                current[0](frame, event, value)

        threading.setprofile(profile)  # the journal's thread is started by opening
        await relay.open()
        threading.setprofile(None)
        traces: list[Trace] = []
        try:
            for number in range(WARM_UP):
                await send(relay.application, number)
            for number in range(TRACES):
                await asyncio.sleep(0.05)
                trace = Trace()
                token = _ours.set(True)
                task = asyncio.create_task(send(relay.application, WARM_UP + number))
                _ours.reset(token)
                current.append(trace)
                sys.setprofile(profile)
                await task
                sys.setprofile(None)
                current.clear()
                traces.append(trace)
        finally:
            await relay.drain()
            await relay.close()
    return min(traces, key=lambda trace: len(trace.functions))


def count(functions: list[tuple[str, str]], types: list[type]) -> dict[str, int]:
    """The four numbers."""
    packages = [file.split("/")[0] for file, _ in functions]
    return {
        "functions": len(functions),
        "files": len({file for file, _ in functions}),
        "changes of package": sum(1 for one, other in pairwise(packages) if one != other),
        "types": len(types),
    }


def lines(trace: Trace, *, listed: bool) -> Iterator[str]:
    """What is printed."""
    functions, types, at, types_at = list(trace.functions), list(trace.types), trace.sent_at, trace.types_sent_at
    for name, some, kinds in (
        ("request to bytes on the socket", functions[:at], types[:types_at]),
        ("answer to response", functions[at:], types[types_at:]),
        ("all", functions, types),
    ):
        yield f"{name}: " + ", ".join(f"{number} {what}" for what, number in count(some, kinds).items())
    if listed:
        for index, (file, function) in enumerate(functions):
            yield f"{'out ' if at is None or index < at else 'back'} {file} {function}"
        yield "types: " + ", ".join(f"{kind.__module__.removeprefix('relay.')}.{kind.__qualname__}" for kind in types)


def main() -> None:
    """Print the path."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="every function in order, and every type")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        trace = asyncio.run(record(Path(directory)))
    print(*lines(trace, listed=options.list), sep="\n")


if __name__ == "__main__":
    main()
