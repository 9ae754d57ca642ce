"""Pages of lists: read in parts, encoded in slices, so that a long one neither fills the memory nor holds up a send."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import replace

from relay.domain.errors import FieldError, ValidationFailed
from relay.domain.notification import Notification, Overview, Stored
from relay.http.answers import PRIVATE, NotificationBody, RecipientBody, RouteTakenBody, count_body, encode_notification
from relay.http.openapi import JSON, Content
from relay.http.parameters import (
    DEFAULT_LIMIT,
    HIGHEST_EXPANDED_LIMIT,
    Expansion,
    format_cursor,
    parse_cursor,
    parse_recipient,
)
from relay.http.pieces import PiecewiseResponse
from relay.http.times import format_time, to_milliseconds
from relay.sending.ports import Cursor, ListFilter
from relay.sending.requests import Sending
from relay.sending.turns import Slices

_FASTER = 4
"""The first read is of one item, because nobody knows how large it is; each further one of so many times as many."""

_RECIPIENTS_A_PAGE = 20_000
"""A page ends once it holds so many recipients, however few its items are: about 4 MB."""


class ListedNotification(NotificationBody, frozen=True, kw_only=True):
    """A notification in a list: with its recipients only where they were asked for."""

    recipients: list[RecipientBody] | UnsetType = UNSET  # type: ignore[assignment]


class NotificationPage(Struct, frozen=True):
    """One page of a list."""

    items: list[ListedNotification]
    next_cursor: Annotated[str | None, Meta(description="For the next page; null on the last one.")]


PAGE = Content(JSON, NotificationPage)


def build_listed(overview: Overview) -> ListedNotification:
    """Make an item of a list, without recipients."""
    notification, route = overview.notification, overview.notification.route
    return ListedNotification(
        id=notification.id,
        reference=notification.reference,
        status=overview.status,
        replayed=False,
        sandbox=notification.sandbox,
        message_type=notification.message_type,
        sender=notification.sender,
        route=RouteTakenBody(route.requested, route.used, route.reason),  # what is known without reading the calls
        text=notification.text,
        warnings=notification.warnings,
        counts=count_body(overview.counts),
        billing_code=notification.billing_code or UNSET,
        send_at=UNSET if notification.send_at is None else format_time(notification.send_at),
        created_at=format_time(notification.created_at),
        completed_at=None if overview.completed_at is None else format_time(overview.completed_at),
    )


def ask_for(given: Mapping[str, Any], *, limit: int | None, cursor: str | None, expand: Expansion | None) -> ListFilter:
    """What a page is asked for.

    Args:
        given: the filters by their parameters' names, as those give them, ``client`` among them.

    Raises:
        ValidationFailed: on ``limit``: too many, with their recipients.
    """
    if expand is not None and limit is not None and limit > HIGHEST_EXPANDED_LIMIT:
        remedy = f"With expand, give a number from 1 to {HIGHEST_EXPANDED_LIMIT}."
        raise ValidationFailed([FieldError("limit", "out_of_range", remedy)])
    values = {name: value for name, value in given.items() if value is not None}
    for name, read in (
        ("recipient", parse_recipient),
        ("created_from", to_milliseconds),
        ("created_to", to_milliseconds),
    ):
        if name in values:
            values[name] = read(values[name])
    return ListFilter(
        **{"client": None} | values,
        limit=limit or (DEFAULT_LIMIT if expand is None else HIGHEST_EXPANDED_LIMIT),
        before=None if cursor is None else parse_cursor(cursor),
    )


async def read_page(sending: Sending, asked: ListFilter) -> tuple[list[Stored], Notification | None]:
    """Read a page in small parts, so that one of large notifications ends early instead of filling the memory.

    Returns:
        The page, and its last item where another page follows.
    """
    page: list[Stored] = []
    limit, recipients, size = asked.limit, 0, 1
    while True:
        found = await sending.select(replace(asked, limit=size))
        page += found
        if len(found) < size:
            return page, None
        read = [len(stored.notification.entries) for stored in found]
        recipients += sum(read)
        last = page[-1].notification
        asked = replace(asked, before=Cursor(last.created_at, last.id))
        if len(page) == limit or recipients >= _RECIPIENTS_A_PAGE:
            # Not read with the others: it may be as large as they are, and only whether it is there matters.
            return page, last if await sending.list_overviews(replace(asked, limit=1)) else None
        # What comes next may be as large as the largest of these.
        size = min(limit - len(page), size * _FASTER, max((_RECIPIENTS_A_PAGE - recipients) // max(read), 1))


async def read_overviews(sending: Sending, asked: ListFilter) -> tuple[list[Overview], Notification | None]:
    """Read a page of notifications without their recipients.

    Returns:
        The page, and its last item where another page follows.
    """
    found = await sending.list_overviews(replace(asked, limit=asked.limit + 1))
    page = found[: asked.limit]
    return page, page[-1].notification if len(found) > asked.limit else None


async def encode_each(bodies: Iterable[Struct], slices: Slices) -> AsyncIterator[list[bytes]]:
    """Encode items one by one, and let others have their turn in between."""
    for body in bodies:
        yield [msgspec.json.encode(body)]
        await slices.pause()


async def encode_stored(
    page: list[Stored],
    slices: Slices,
    encode: Callable[[Stored, Slices], Awaitable[list[bytes]]] = encode_notification,
) -> AsyncIterator[list[bytes]]:
    """Encode items with their recipients, and take each from the page: to forget them all at once is work, too."""
    page.reverse()
    while page:
        yield await encode(page.pop(), slices)
        await slices.pause()


async def answer_page(
    items: AsyncIterator[list[bytes]], last: Notification | None, slices: Slices
) -> PiecewiseResponse:
    """Answer with a page.

    Args:
        items: encoded, in order, each as its pieces.
        last: the last one of the page where another page follows.
        slices: in which it goes out.
    """
    pieces = [b'{"items":[']
    async for item in items:
        if len(pieces) > 1:
            pieces.append(b",")
        pieces += item
    cursor = msgspec.json.encode(None if last is None else format_cursor(last))
    return PiecewiseResponse(200, [*pieces, b'],"next_cursor":', cursor, b"}"], PRIVATE, slices)
