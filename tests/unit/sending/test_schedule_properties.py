"""Whatever times, windows, zones and restarts come together: nothing early, outside its window, twice, or lost.

Here days pass and processes die where they hold something; ``faults/test_chaos.py`` kills real ones at any moment, with
messages among others that have a ``send_at`` and a window.
"""

import asyncio
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import replace

from relay.domain.codes import Code, MessageType
from relay.domain.errors import ValidationFailed
from relay.domain.hours import DeliveryWindow, read_minute
from relay.domain.notification import Notification
from relay.sending.recover import recover_dead
from relay.sending.requests import AskedWindow
from support.journal import codes
from support.sending import Scene, running_scene

HOUR_MS, HALF_AN_HOUR = 3_600_000, 1_800
MOST_DAYS = 9
EXAMPLES = int(os.environ.get("RELAY_TEST_EXAMPLES", "12"))
STARTS = (1_774_734_000_000, 1_792_882_800_000, 1_796_122_800_000)
"""Before clocks change in Europe (March, October 2026), and a day like any other."""

zones = st.sampled_from(["Africa/Lagos", "Europe/London", "America/New_York", "Asia/Kathmandu", "Pacific/Chatham"])


class Wish(Struct, frozen=True):
    """A message, in hours from when it is asked for, and where it is moved to."""

    hours: int
    window: AskedWindow | None
    moved: int | None
    cancelled: bool


@st.composite
def windows(draw: st.DrawFn) -> AskedWindow:
    """At least an hour long, so that looking every half hour misses none."""
    begin, length = draw(st.integers(0, 47)), draw(st.integers(2, 46))
    end = (begin + length) % 48
    return AskedWindow(f"{begin // 2:02d}:{begin % 2 * 30:02d}", f"{end // 2:02d}:{end % 2 * 30:02d}", draw(zones))


wishes = st.builds(
    Wish,
    st.integers(-5, 72),
    st.none() | windows(),
    st.none() | st.integers(0, 72),
    st.sampled_from([False, False, False, True]),
)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(STARTS),
    st.lists(wishes, min_size=1, max_size=6),
    st.none() | windows(),
    st.sets(st.integers(0, 40), max_size=3),
)
def test_nothing_is_early_outside_its_window_twice_or_lost(
    start: int, asked: list[Wish], of_client: AskedWindow | None, restarts: set[int]
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(live_through(Path(directory), start, asked, of_client, restarts))


async def live_through(
    directory: Path, start: int, asked: list[Wish], of_client: AskedWindow | None, restarts: set[int]
) -> None:
    """Ask for everything, then look every half hour for days; some looks end with a process that dies holding it."""
    sent: dict[str, list[int]] = {}
    ids: dict[str, tuple[str, Wish]] = {}
    now, looks = start, iter(range(MOST_DAYS * 48))
    generation = 0
    while True:
        generation += 1
        async with running_scene(directory) as scene:
            scene.clock.wall_ms = now
            await recover_dead(scene.journal.real, scene.clock, scene.heard)
            if generation == 1:
                ids = await ask(scene, asked, of_client)
            died = await look_until_it_dies(scene, looks, restarts)
            for entry in scene.upstream.ledger.since():
                for delivery in entry.deliveries:
                    sent.setdefault(delivery.recipient, []).append(round(entry.at.timestamp() * 1000))
            now = scene.clock.now_ms()
            if not died:
                for number, (notification_id, wish) in ids.items():
                    stored = await scene.find(notification_id)
                    judge(stored.notification, codes(stored), sent.get(number, []), wish)
                return


async def look_until_it_dies(scene: Scene, looks: Iterator[int], restarts: set[int]) -> bool:
    """Deliver what is due every half hour; whether the process died, holding something."""
    for look in looks:
        if look in restarts:
            await scene.journal.take(["billing"], list(MessageType), 3, scene.clock.now_ms())
        else:
            while await scene.deliver_due():
                pass
        scene.clock.advance(HALF_AN_HOUR)
        if look in restarts:
            return True
    return False


async def ask(scene: Scene, asked: list[Wish], of_client: AskedWindow | None) -> dict[str, tuple[str, Wish]]:
    """Accept them; move and cancel some. By number: the id and the wish."""
    ids: dict[str, tuple[str, Wish]] = {}
    now = scene.clock.now_ms()
    if of_client is not None:
        begin, end = read_minute(of_client.begin), read_minute(of_client.end)
        scene.client = replace(scene.client, delivery_window=DeliveryWindow(begin, end, of_client.time_zone))
    for place, wish in enumerate(asked):
        number = f"234803123{place:04d}"
        fields: dict[str, Any] = {"delivery_window": wish.window, "send_at": now + wish.hours * HOUR_MS}
        try:
            stored = await scene.enqueue(number, **fields)
        except ValidationFailed as refusal:
            if [error.code for error in refusal.errors] != ["no_common_hours"]:
                raise
            continue
        notification_id = stored.notification.id
        if wish.moved is not None:
            await scene.journal.move(notification_id, "billing", now + wish.moved * HOUR_MS, now, HOUR_MS)
        if wish.cancelled:
            await scene.journal.cancel(notification_id, "billing", now)
        ids[number] = notification_id, wish
    return ids


def judge(notification: Notification, became: list[Code], sent_at: list[int], wish: Wish) -> None:
    """One message: sent once, at a time that is right; or it ended for a reason."""
    if wish.cancelled:
        assert (became, sent_at) == ([Code.CANCELLED], [])
        return
    if became == [Code.EXPIRED]:  # a window that the clocks skipped, or that never opened while it lived
        assert sent_at == []
        assert notification.expires_at is not None
        begin = max(notification.created_at, notification.send_at or 0)
        looks = range(begin, notification.expires_at - 2 * HALF_AN_HOUR * 1000, 60_000)
        assert notification.windows
        assert not any(all(window.is_open(at) for window in notification.windows) for at in looks)
        return
    assert became == [Code.SENT]
    [at] = sent_at
    assert at >= (notification.send_at or 0)
    assert all(window.is_open(at) for window in notification.windows)
