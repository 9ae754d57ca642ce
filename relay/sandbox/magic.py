"""Magic numbers, senders and words: what to send to get each outcome. All made up.

Owns the table; the responder reads it. The numbers are well formed, so that they pass the relay's own checks.
"""

from msgspec import Struct

from relay.sandbox.dialect import (
    CONFLICTING,
    DELIVERED,
    DND_REJECTED,
    DND_SENT,
    REJECTED,
    SENT,
    UNLISTED,
    RecordStatus,
)
from relay.sandbox.switches import Echo, Fault

BLOCKED_SENDER = "BLOCKED"
"""A sender ID that gives TG18, in any case."""

BLOCKED_WORD = "sandbox-blocked"
"""A word that gives TG19 anywhere in a text, in any case."""


class Magic(Struct, frozen=True):
    """What a magic number does.

    ``normal`` and ``dnd`` (both DND routes) are the records it gets on that route, in order; with none, it is left out
    of the answer. A ``fault`` affects the whole call."""

    does: str
    normal: tuple[RecordStatus, ...] = (SENT,)
    dnd: tuple[RecordStatus, ...] = (SENT,)
    fault: Fault | None = None
    echo: Echo | None = None
    message_id: str | None = None


def _everywhere(does: str, *statuses: RecordStatus) -> Magic:
    return Magic(does, statuses, statuses)


MAGIC: dict[str, Magic] = {
    "2348010000001": _everywhere("sent", SENT),
    "2348010000002": Magic("on DND: reached by the DND routes only", (DND_REJECTED,), (DND_SENT,)),
    "2348010000003": _everywhere("rejected for DND on every route", DND_REJECTED),
    "2348010000004": _everywhere("rejected", REJECTED),
    "2348010000005": _everywhere("left out of the answer"),
    "2348010000006": _everywhere("a code that no page lists", UNLISTED),
    "2348010000007": _everywhere("code and word disagree", CONFLICTING),
    "2348010000008": _everywhere("delivered to the handset", DELIVERED),
    "2348010000009": Magic("echoed in its local form", echo="080"),
    "2348010000010": _everywhere("two records: DND rejected, then sent by DND", DND_REJECTED, DND_SENT),
    "2348010000011": Magic("taken, never answered", fault=Fault("hang")),
    "2348010000012": Magic("connection reset after the request", fault=Fault("reset")),
    "2348010000013": Magic("answered late", fault=Fault("slow")),
    "2348010000014": Magic("an HTML page instead of an answer", fault=Fault("html")),
    "2348010000015": Magic("connection closed without an answer", fault=Fault("close")),
    "2348010000016": Magic("answer cut in the middle", fault=Fault("cut")),
    "2348012345678": Magic("the documented sample's first number", message_id="9967534522177818556581618"),
    "234803456789": Magic(
        "the documented sample's second number, a digit short",
        (DND_REJECTED,),
        (DND_REJECTED,),
        message_id="6667534522177818556581618",
    ),
}
"""By number, in the form ``234…``. The last two give exactly the sample on the upstream's page."""
