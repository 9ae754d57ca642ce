"""The log: JSON lines, ours and everybody else's, and nothing in them that must not be there."""

import asyncio
import base64
import json
import logging
import subprocess
import sys
import textwrap
import threading
import warnings
from collections.abc import Iterator
from typing import BinaryIO, cast
from urllib.parse import quote

import httpx
import pytest

from relay.domain.secret import Secret
from relay.observability.logs import Log, name_request
from support.log import Lines
from support.waiting import PATIENCE_SECONDS

PASSWORD = "hunter2/ Canary+ü"
NUMBER = "2348012345678"
TEXT = "Your code is 4711"
KEY = "rk_k1_c2VjcmV0LWNhbmFyeQ"

CANARIES = (
    PASSWORD,
    quote(PASSWORD),
    quote(PASSWORD, safe=""),
    base64.b64encode(PASSWORD.encode()).decode(),
    NUMBER,
    TEXT,
    quote(TEXT),
    KEY,
)


@pytest.fixture
def foreign(lines: Lines) -> Iterator[Log]:
    """A log that has taken over what libraries say."""
    log = Log("debug", lines, [Secret(PASSWORD)])
    put_back = log.take_over()
    yield log
    put_back()


def assert_clean(text: str) -> None:
    assert [canary for canary in CANARIES if canary in text] == []


def test_a_line_is_json_with_time_level_and_name(log: Log, lines: Lines) -> None:
    log.logger.info("call.finished", cause="timeout\nand\x1b[31m more")

    [line] = lines.read_all()
    assert list(line) == ["timestamp", "level", "event", "cause"]
    assert str(line["timestamp"]).endswith("Z")
    assert lines.text.count("\n") == 1
    assert "\x1b" not in lines.text


@pytest.mark.parametrize(("level", "written"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_lines_below_the_level_are_not_written(lines: Lines, level: str, written: int) -> None:
    logger = Log(level, lines).logger
    for log in (logger.debug, logger.info, logger.warning, logger.error):
        log("task.failed")

    assert len(lines.read_all()) == written


def test_a_value_that_is_no_json_shows_what_it_is_and_not_what_it_holds(log: Log, lines: Lines) -> None:
    log.logger.info("task.failed", secret=Secret(PASSWORD), error=ValueError(TEXT), ids={1: 2})

    [line] = lines.read_all()
    assert (line["secret"], line["error"]) == ("Secret", "ValueError")


def test_a_line_that_cannot_be_written_as_json_leaves_its_name(log: Log, lines: Lines) -> None:
    log.logger.info("task.failed", broken="\udcff")

    assert [line["name"] for line in lines.read_all()] == ["'task.failed'"]


def test_an_exception_is_its_class_and_places_without_text_or_locals(log: Log, lines: Lines) -> None:
    def dial(password: str) -> None:
        address = f"https://user:{password}@smsclone.com/?recipient={NUMBER}&message={TEXT}"
        raise ValueError(f"cannot reach {address}")

    try:
        try:
            dial(PASSWORD)
        except ValueError as failure:
            raise RuntimeError(TEXT) from failure
    except RuntimeError as bug:
        log.logger.error("task.failed", exc_info=bug)  # noqa: TRY400 — the object itself is what is tested

    assert_clean(lines.text)
    exception = lines.read_all()[0]["exception"]
    assert isinstance(exception, dict)
    assert exception["class"] == "RuntimeError"
    assert exception["cause"]["class"] == "ValueError"
    assert exception["cause"]["frames"][-1].endswith(":dial")


def test_exceptions_of_a_group_and_endless_chains_are_told_briefly(log: Log, lines: Lines) -> None:
    first, second = ValueError(TEXT), KeyError(NUMBER)
    first.__context__, second.__context__ = second, first
    log.logger.error("task.failed", exc_info=ExceptionGroup(TEXT, [first, second]))

    assert_clean(lines.text)
    assert len(lines.text) < 2_000
    assert '"KeyError"' in lines.text


def test_ids_of_a_request_reach_the_tasks_that_it_starts_and_no_other(log: Log, lines: Lines) -> None:
    async def send() -> None:
        log.logger.info("call.finished")

    async def request(request_id: str) -> None:
        name_request(request_id)
        await asyncio.create_task(send())

    async def serve() -> None:
        await asyncio.gather(request("r1"), request("r2"))
        await asyncio.create_task(send())

    asyncio.run(serve())

    assert [line.get("request_id") for line in lines.read_all()] == ["r1", "r2", None]


@pytest.mark.parametrize(
    "said",
    [
        f"GET https://smsclone.com/api/sms/sendsms?username=x&password={quote(PASSWORD)}&recipient={NUMBER}",
        f"HTTP Request: GET https://user:{PASSWORD}@host/path",
        f"cannot connect to postgresql://relay:{quote(PASSWORD, safe='')}@db/relay",
        f"headers: {{'authorization': 'Bearer {KEY}', 'host': 'x'}}",
        f"Authorization: Basic {base64.b64encode(PASSWORD.encode()).decode()}",
        f"sent Bearer {KEY}",
        f"unexpected key {KEY}",
        f"recipient {NUMBER} failed",
        f"recipient +{NUMBER[:3]} ({NUMBER[3:6]}) {NUMBER[6:9]}-{NUMBER[9:]} failed",
        f"%2B{NUMBER}",
        f"message={TEXT}",
        f"{{'message': '{TEXT}', 'password': '{PASSWORD}'}}",
        f"(psycopg.errors.X) failed\n[SQL: INSERT]\n[parameters: ('{TEXT}', '{NUMBER}')]",
        f"future: failed\nexception=ValueError('{TEXT}')",
        f"the secret is {PASSWORD} and {quote(PASSWORD)}",
    ],
)
def test_what_libraries_say_is_cleaned(foreign: Log, lines: Lines, said: str) -> None:
    logging.getLogger("some.library").error(said)
    logging.getLogger("some.library").error("%s", said)

    assert_clean(lines.text)
    assert len(lines.read_all()) == 2
    assert all(line["logger"] == "some.library" for line in lines.read_all())


def test_spaced_numbers_are_cleaned_too(foreign: Log, lines: Lines) -> None:
    logging.getLogger("some.library").error("to +234 801 234 5678 or 0801-234-5678 or (0801) 2345678")

    assert "5678" not in lines.text


def test_harmless_words_stay_readable(foreign: Log, lines: Lines) -> None:
    logging.getLogger("some.library").warning("Connection pool is full, discarding connection: db-1:5432")

    assert lines.read_all()[0]["message"] == "Connection pool is full, discarding connection: db-1:5432"


def test_secrets_that_come_with_a_reload_are_known_too(foreign: Log, lines: Lines) -> None:
    foreign.redactor.know([Secret("fresh-secret")])
    logging.getLogger("some.library").error("it is fresh-secret")

    assert "fresh-secret" not in lines.text


def test_a_message_that_cannot_be_formatted_is_told_without_its_arguments(
    foreign: Log, lines: Lines, capfd: pytest.CaptureFixture[str]
) -> None:
    logging.getLogger("some.library").error("%d of them", TEXT)

    assert "cannot be formatted" in lines.text
    assert_clean(lines.text + "".join(capfd.readouterr()))


def test_stacks_extras_and_exception_texts_of_libraries_are_left_out(foreign: Log, lines: Lines) -> None:
    failure = ValueError(TEXT)
    logging.getLogger("some.library").error("failed", exc_info=failure, stack_info=True, extra={"note": PASSWORD})

    assert_clean(lines.text)
    assert '"ValueError"' in lines.text


async def test_the_http_library_is_silent_even_with_everything_at_debug(foreign: Log, lines: Lines) -> None:
    logging.getLogger().setLevel(logging.DEBUG)
    for name in ("httpx", "httpcore", "httpcore.http11", "httpcore.connection", "asyncio"):
        logging.getLogger(name).setLevel(logging.DEBUG)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        port = server.sockets[0].getsockname()[1]
        query = {"password": PASSWORD, "recipient": NUMBER, "message": TEXT}
        async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
            await client.get(f"http://127.0.0.1:{port}/", params=query, headers={"Authorization": f"Bearer {KEY}"})
    finally:
        server.close()
        await server.wait_closed()
        for name in ("httpx", "httpcore", "httpcore.http11", "httpcore.connection", "asyncio"):
            logging.getLogger(name).setLevel(logging.NOTSET)

    assert lines.text == ""


async def test_a_task_whose_failure_nobody_asked_for_tells_no_text(foreign: Log, lines: Lines) -> None:
    context = {"message": "Task exception was never retrieved", "exception": ValueError(NUMBER), "future": TEXT}
    asyncio.get_running_loop().call_exception_handler(context)

    assert_clean(lines.text)
    assert "never retrieved" in lines.text
    assert '"ValueError"' in lines.text


def test_warnings_and_what_threads_die_of_come_as_lines_too(foreign: Log, lines: Lines) -> None:
    def fail() -> None:
        raise ValueError(TEXT)

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn(f"{NUMBER} is deprecated", stacklevel=1)
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()

    assert_clean(lines.text)
    assert [line["event"] for line in lines.read_all()] == ["library.logged", "exception.unhandled"]


def test_a_process_that_dies_tells_class_and_place_and_nothing_else() -> None:
    program = f"""
        from relay.observability.logs import Log

        class Fragile:
            def __del__(self):
                raise KeyError({NUMBER!r})

        Log("info").take_over()
        fragile = Fragile()
        del fragile
        password = {PASSWORD!r}
        raise ValueError(f"cannot open https://user:{{password}}@host/")
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=False, timeout=120
    )

    assert ended.returncode == 1
    assert ended.stderr == ""
    assert_clean(ended.stdout)
    assert '"exception.unhandled"' in ended.stdout
    assert '"process.failed"' in ended.stdout
    assert '"class":"ValueError"' in ended.stdout


def test_everything_is_as_it_was_when_the_log_is_put_back(lines: Lines) -> None:
    root = logging.getLogger()
    before = (root.handlers[:], root.level, sys.excepthook, threading.excepthook, sys.unraisablehook)

    Log("info", lines).take_over()()

    assert (root.handlers[:], root.level, sys.excepthook, threading.excepthook, sys.unraisablehook) == before


class Writes:
    """A stream that keeps what each write was."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def write(self, piece: bytes) -> int:
        self.pieces.append(piece)
        return len(piece)

    def flush(self) -> None:
        """Nothing waits here."""


async def test_the_lines_of_one_turn_of_the_loop_are_written_together_and_in_order() -> None:
    stream = Writes()
    log = Log("info", cast("BinaryIO", stream))
    log.gather(asyncio.get_running_loop())

    for count in range(3):
        log.logger.info("call.finished", count=count)
    assert stream.pieces == []
    await asyncio.sleep(0)

    [piece] = stream.pieces
    assert [json.loads(line)["count"] for line in piece.splitlines()] == [0, 1, 2]


async def test_a_line_of_another_thread_waits_for_no_turn_of_the_loop() -> None:
    stream = Writes()
    log = Log("info", cast("BinaryIO", stream))
    log.gather(asyncio.get_running_loop())

    thread = threading.Thread(target=log.logger.info, args=("call.finished",))
    thread.start()
    thread.join()

    assert len(stream.pieces) == 1


def test_what_is_said_after_the_loop_is_written_at_once() -> None:
    stream = Writes()
    log = Log("info", cast("BinaryIO", stream))
    loop = asyncio.new_event_loop()
    log.gather(loop)
    loop.close()

    log.logger.info("call.finished")

    assert len(stream.pieces) == 1


class Interrupted(Writes):
    """A stream in whose first write something else is said, as the collector may at any moment."""

    def __init__(self) -> None:
        super().__init__()
        self.log = Log("info", cast("BinaryIO", self))

    def write(self, piece: bytes) -> int:
        if not self.pieces:
            self.pieces.append(piece)
            self.log.logger.warning("exception.unhandled")
            return len(piece)
        return super().write(piece)


def test_what_is_said_in_the_middle_of_a_write_stops_nothing_and_follows_it() -> None:
    stream = Interrupted()
    # Not in this thread: what this test is about is a thread that waits for itself for ever.
    thread = threading.Thread(target=stream.log.logger.info, args=("call.finished",), daemon=True)
    thread.start()
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()
    stream.log.logger.info("request.answered")

    said = [json.loads(line)["event"] for piece in stream.pieces for line in piece.splitlines()]
    assert said == ["call.finished", "exception.unhandled", "request.answered"]


def test_a_stream_that_fails_costs_its_lines_and_nothing_else() -> None:
    class Full(Writes):
        def write(self, piece: bytes) -> int:
            if not self.pieces:
                self.pieces.append(b"")
                raise OSError(28, "no space")
            return super().write(piece)

    stream = Full()
    log = Log("info", cast("BinaryIO", stream))
    for count in range(3):
        log.logger.info("call.finished", count=count)

    assert [json.loads(line)["count"] for piece in stream.pieces for line in piece.splitlines()] == [1, 2]
