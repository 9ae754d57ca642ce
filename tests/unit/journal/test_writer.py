"""SQLite's one thread: what somebody waits for goes first, and what nobody waits for goes on all the same."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text

from relay.journal.statements import Statement, Work
from relay.journal.writer import Writer
from relay.sending.ports import JournalUnavailable

ONE = Statement(text("SELECT 1"))


@pytest.fixture
async def writer() -> AsyncIterator[Writer]:
    writer = Writer(lambda: sqlite3.connect(":memory:", isolation_level=None))
    await writer.open()
    yield writer
    await writer.close()


class Order:
    """What the thread did, in order; the first work waits until everything else is handed over."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.begun = threading.Event()
        self.go_on = threading.Event()

    def blocking(self) -> Work[None]:
        """Work that waits."""
        yield [(ONE, {})]
        self.begun.set()
        self.go_on.wait(60)

    def work(self, name: str) -> Work[None]:
        """Work that tells its name."""
        yield [(ONE, {})]
        self.done.append(name)

    def fails(self) -> Work[None]:
        """Work with a bug."""
        yield [(ONE, {})]
        raise LookupError


async def hand_over() -> None:
    """Let the writer give its thread what was put in line."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_what_somebody_waits_for_goes_before_what_nobody_waits_for(writer: Writer) -> None:
    order = Order()
    first = writer.run(order.blocking)
    await asyncio.to_thread(order.begun.wait, 60)
    patient = [writer.run(lambda n=n: order.work(f"patient {n}"), patient=True) for n in range(3)]  # type: ignore[misc]
    await hand_over()
    urgent = [writer.run(lambda n=n: order.work(f"urgent {n}")) for n in range(2)]  # type: ignore[misc]
    await hand_over()
    order.go_on.set()

    await asyncio.gather(first, *patient, *urgent)

    assert order.done == ["urgent 0", "urgent 1", "patient 0", "patient 1", "patient 2"]


async def test_a_group_that_nobody_waits_for_ends_as_soon_as_somebody_comes(writer: Writer) -> None:
    order = Order()
    patient = [writer.run(order.blocking, patient=True), writer.run(lambda: order.work("patient"), patient=True)]
    await asyncio.to_thread(order.begun.wait, 60)
    urgent = writer.run(lambda: order.work("urgent"))
    await hand_over()
    order.go_on.set()

    await asyncio.gather(*patient, urgent)

    assert order.done == ["urgent", "patient"]


async def test_work_that_nobody_waits_for_goes_on_between_groups_of_what_somebody_waits_for(writer: Writer) -> None:
    order = Order()
    first = writer.run(order.blocking)
    patient = writer.run(lambda: order.work("patient"), patient=True)
    await hand_over()
    order.go_on.set()
    while not patient.done():
        await writer.run(lambda: order.work("urgent"))

    await first

    assert "patient" in order.done


async def test_a_failure_among_what_nobody_waits_for_is_told_to_whom_it_concerns(writer: Writer) -> None:
    order = Order()
    first = writer.run(order.blocking)
    await hand_over()
    failing = writer.run(order.fails, patient=True)
    sound = writer.run(lambda: order.work("sound"), patient=True)
    await hand_over()
    order.go_on.set()

    with pytest.raises(LookupError):
        await failing
    await asyncio.gather(first, sound)

    assert order.done == ["sound"]


async def test_closing_finishes_what_nobody_waits_for(writer: Writer) -> None:
    order = Order()
    first = writer.run(order.blocking)
    patient = [writer.run(lambda n=n: order.work(f"{n}"), patient=True) for n in range(40)]  # type: ignore[misc]
    closing = asyncio.ensure_future(writer.close())
    await hand_over()
    order.go_on.set()
    await closing

    await asyncio.gather(first, *patient)

    assert len(order.done) == 40


async def test_a_database_that_cannot_be_used_is_told_by_a_closed_word() -> None:
    def connect() -> sqlite3.Connection:
        raise sqlite3.OperationalError("a path that is nobody's business")

    with pytest.raises(JournalUnavailable, match=r"^failed$"):
        await Writer(connect).open()
