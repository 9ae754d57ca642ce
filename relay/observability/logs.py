"""The log: one JSON object a line on standard output, ours and everybody else's alike.

Our own lines have a name (noun and past participle) and closed fields. What libraries, the interpreter and warnings say
goes through one handler, which takes out what must not be there and drops everything below a warning: a library's own
line for a request holds its whole address.
"""

import asyncio
import atexit
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterable, MutableMapping
from contextlib import suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import lru_cache
from types import TracebackType
from typing import Any, BinaryIO, Final, Protocol

import msgspec
import structlog

from relay.domain.secret import Secret
from relay.observability.failures import class_name, describe_exception
from relay.observability.redaction import Redactor

_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}

_request_id: ContextVar[str | None] = ContextVar("relay_request_id", default=None)
_trace_id: ContextVar[str | None] = ContextVar("relay_trace_id", default=None)


class Logger(Protocol):
    """What our own parts log with: a name for what happened, and fields. Never raises for what a field holds."""

    def debug(self, event: str, **fields: Any) -> Any:
        """For somebody who looks for a fault."""

    def info(self, event: str, **fields: Any) -> Any:
        """What happened."""

    def warning(self, event: str, **fields: Any) -> Any:
        """Somebody should look at it in working hours."""

    def error(self, event: str, **fields: Any) -> Any:
        """Somebody should look at it now."""


def name_request(request_id: str) -> None:
    """Let every line of this task, and of the tasks that it starts from now on, carry this id."""
    _request_id.set(request_id)


def name_trace(trace_id: str | None) -> None:
    """The same for the trace that the request belongs to."""
    _trace_id.set(trace_id)


class Log:
    """Where lines go.

    Args:
        level: from which of our own lines on: ``debug``, ``info``, ``warning``, ``error``.
        stream: takes whole lines; standard output if left out.
        secrets: what foreign lines are searched for.
    """

    def __init__(self, level: str, stream: BinaryIO | None = None, secrets: Iterable[Secret] = ()) -> None:
        self._stream = stream if stream is not None else sys.stdout.buffer
        # The collector may run anywhere here, and what it finalises may log: the same thread comes in again.
        self._lock = threading.RLock()
        self._waiting: list[bytes] = []
        self._is_due = False
        self._is_writing = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_thread = 0
        self.redactor = Redactor(secrets)
        self.logger: Logger = structlog.wrap_logger(
            self,
            processors=[_complete, _render],
            wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        ).bind()

    def write(self, line: bytes) -> None:
        """Write one line. A log that cannot be written must not stop a send."""
        with self._lock:
            self._waiting.append(line)
            if self._is_due:
                return
            self._is_due = True
        if self._loop is not None and threading.get_ident() == self._loop_thread:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon(self.flush)
                return
        self.flush()

    debug = info = warning = error = write

    def gather(self, loop: asyncio.AbstractEventLoop) -> None:
        """From now on write the lines of one turn of this thread's loop together: a system call for all of them."""
        self._loop, self._loop_thread = loop, threading.get_ident()
        atexit.register(self.flush)

    def flush(self) -> None:
        """Write what waits, and what comes to it meanwhile."""
        with self._lock:
            if self._is_writing:
                return
            self._is_writing = True
            try:
                while self._waiting:
                    lines, self._waiting = self._waiting, []
                    self._write_out(b"".join([line + b"\n" for line in lines]))
            finally:
                self._is_due = self._is_writing = False

    def _write_out(self, lines: bytes) -> None:
        try:
            self._stream.write(lines)
            self._stream.flush()
        except (OSError, ValueError):
            return

    def take_over(self) -> Callable[[], None]:
        """Send what libraries, warnings and the interpreter say through this log, and nothing of it anywhere else.

        Returns:
            Puts everything back as it was.
        """
        root = logging.getLogger()
        before = (root.handlers[:], root.level, sys.excepthook, sys.unraisablehook, threading.excepthook)
        root.handlers[:] = [_ForeignHandler(self)]
        root.setLevel(logging.WARNING)
        logging.captureWarnings(True)
        sys.excepthook = self._uncaught
        sys.unraisablehook = lambda raised: self._lost(raised.exc_value)
        threading.excepthook = lambda raised: self._lost(raised.exc_value)

        def put_back() -> None:
            root.handlers[:], level, sys.excepthook, sys.unraisablehook, threading.excepthook = before
            root.setLevel(level)
            logging.captureWarnings(False)

        return put_back

    def _uncaught(self, _kind: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
        if isinstance(error, KeyboardInterrupt):
            return
        self.logger.error("process.failed", exc_info=error)

    def _lost(self, error: BaseException | None) -> None:
        self.logger.error("exception.lost", exc_info=error)


class _ForeignHandler(logging.Handler):
    """The root logger's only handler."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log
        self.addFilter(_Redaction(log.redactor))

    def emit(self, record: logging.LogRecord) -> None:
        fields = {"level": record.levelname.lower(), "event": "library.warned", "logger": record.name}
        line: dict[str, Any] = {**fields, "said": record.msg}
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = describe_exception(record.exc_info[1])
        self._log.write(_encode({"timestamp": _now(), **line, **_ids()}))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 — logging's own name
        """Nothing: the standard one prints the record, arguments and all."""


class _Redaction(logging.Filter):
    """Makes a record safe for whatever formats it: message cleaned, arguments and stack gone."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return False
        try:
            said = record.getMessage()
        except Exception as bug:  # noqa: BLE001 — somebody else's format string and arguments
            said = f"a message that cannot be formatted ({class_name(type(bug))})"
        record.msg, record.args = self._redactor.redact(said), ()
        record.exc_text = record.stack_info = None
        return True


Fields = MutableMapping[str, Any]


def _complete(_logger: Any, level: str, fields: Fields) -> Fields:
    """Add time, level, the request's ids; turn an exception into its class and places."""
    line: Fields = {"timestamp": _now(), "level": level, "event": fields.pop("event")}
    error = fields.pop("exc_info", None)
    line.update(fields)
    if error is True:
        error = sys.exc_info()[1]
    if isinstance(error, BaseException):
        line["exception"] = describe_exception(error)
    for name, value in _ids().items():
        line.setdefault(name, value)
    return line


def _ids() -> dict[str, str]:
    ids = {"request_id": _request_id.get(), "trace_id": _trace_id.get()}
    return {name: value for name, value in ids.items() if value is not None}


def _now() -> str:
    second, rest = divmod(time.time_ns(), 1_000_000_000)
    return f"{_write_second(second)}.{rest // 1_000_000:03}Z"


@lru_cache(maxsize=1)
def _write_second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat().removesuffix("+00:00")


def _render(_logger: Any, _level: str, fields: Fields) -> bytes:
    return _encode(fields)


def _encode(fields: Fields) -> bytes:
    try:
        return _encoder.encode(fields)
    except (UnicodeEncodeError, TypeError, ValueError, RecursionError):
        # A lone surrogate, a key that is no text: the line's own name is worth more than nothing.
        return _encoder.encode({"level": "error", "event": "line.lost", "name": ascii(fields.get("event"))})


def _class_only(value: object) -> str:
    """Stands for a value that is no JSON: what it is, never what it holds."""
    return type(value).__name__


_encoder = msgspec.json.Encoder(enc_hook=_class_only)
