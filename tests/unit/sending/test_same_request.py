"""One key, one request: what counts as the same request, spelt out or left to defaults, also in an older journal."""

import hashlib
import hmac
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from relay.domain.codes import MessageType, OnNonGsm, RequestedRoute
from relay.domain.errors import IdempotencyConflict
from relay.domain.templates import TemplateBook, TemplateUse, parse_templates
from relay.sending.requests import Submission
from support.core import Core, running_core, submission
from support.upstream import running_upstream

LEFT_OUT: dict[str, Any] = {}
SPELT_OUT: dict[str, Any] = {
    "sender": "ACME",
    "message_type": MessageType.TRANSACTIONAL,
    "route": RequestedRoute.AUTO,
    "on_non_gsm": OnNonGsm.SEND,
    "max_segments": 10,
    "strict": False,
    "reference": None,
    "expires_at": None,
    "callback_url": None,
}
DEFAULTS = [*({name: value} for name, value in SPELT_OUT.items()), {"sender": " ACME "}, SPELT_OUT]


@pytest.fixture
async def core(tmp_path: Path) -> AsyncIterator[Core]:
    with running_upstream() as upstream:
        async with running_core(tmp_path, upstream) as core:
            yield core


async def ask(core: Core, fields: dict[str, Any], *, queued: bool = False) -> str | None:
    """The id of the answer to a request with the key ``k``; ``None`` where it is another request."""
    asked = submission(**({"idempotency_key": "k"} | fields))
    if queued:
        [answer] = await core.service.enqueue([asked], core.caller())
        return None if isinstance(answer, IdempotencyConflict) else str(answer.stored.notification.id)
    try:
        return str((await core.service.send(asked, core.caller())).stored.notification.id)
    except IdempotencyConflict:
        return None


@pytest.mark.parametrize("queued", [False, True], ids=["waits", "queued"])
async def test_a_default_that_is_spelt_out_is_the_same_request(core: Core, queued: bool) -> None:
    first = await ask(core, LEFT_OUT, queued=queued)

    assert first is not None
    for spelt in (*DEFAULTS, LEFT_OUT):
        assert await ask(core, spelt, queued=queued) == first, spelt


OTHERS: list[dict[str, Any]] = [
    {"sender": "Orders"},
    {"max_segments": 9},
    {"strict": True},
    {"reference": "order-1204"},
    {"message_type": MessageType.OTP},
    {"on_non_gsm": OnNonGsm.FOLD},
]


@pytest.mark.parametrize("first", [LEFT_OUT, SPELT_OUT], ids=["left out", "spelt out"])
async def test_whatever_else_differs_is_another_request(core: Core, first: dict[str, Any]) -> None:
    core.client = replace(core.client, senders=frozenset({"ACME", "Orders"}))

    assert await ask(core, first) is not None
    for other in OTHERS:
        assert await ask(core, first | other) is None, other


ORDER = """[[template]]
name = "order_sent"
version = {version}
[template.values]
order = 12
[template.text]
en = "{text} {{{{ order }}}}"
pcm = "Order {{{{ order }}}} dey come."
"""


def use_templates(core: Core, *versions: int, text: str = "Your order") -> None:
    sources = "".join(ORDER.format(version=version, text=text) for version in versions)
    core.relay.use_templates(TemplateBook(parse_templates(sources, core.relay.matcher)))


async def ask_for(core: Core, **use: Any) -> str | None:
    return await ask(core, {"message": "", "template": TemplateUse(**({"name": "order_sent"} | use))})


async def test_a_template_is_the_same_request_by_name_language_and_values(core: Core) -> None:
    use_templates(core, 1)
    first = await ask_for(core, values={"order": "1204"})

    assert first is not None
    assert await ask_for(core, values={"order": "1204"}, language="en") == first
    assert await ask_for(core, values={"order": "1205"}) is None
    assert await ask_for(core, values={"order": "1204"}, language="pcm") is None
    assert await ask(core, {"message": "Your order 1204"}) is None
    use_templates(core, 1, 2, text="Dear customer, your order")  # a newer version does not make it another request
    assert await ask_for(core, values={"order": "1204"}) == first
    stored = await core.journal.real.find(first)
    assert stored is not None
    assert stored.notification.text.characters == len("Your order 1204")


def first_edition(hash_key: bytes, asked: Submission) -> bytes:
    """What the first edition kept of a request: of its fields as they came, defaults left out where they were."""
    facts = (
        asked.sender,
        list(asked.recipients),
        asked.message,
        asked.message_type,
        asked.route,
        asked.reference,
        asked.on_non_gsm,
        asked.max_segments,
        asked.strict,
        asked.expires_at,
        asked.callback_url,
    )
    return hmac.digest(hash_key, b"request\0" + msgspec.json.encode(facts), hashlib.sha256)


@pytest.mark.parametrize("then", [LEFT_OUT, SPELT_OUT, {"sender": "ACME"}, {"max_segments": 10}], ids=str)
async def test_a_key_of_the_first_edition_is_honoured_however_the_request_is_spelt_now(
    core: Core, then: dict[str, Any]
) -> None:
    hash_key = await core.journal.real.hash_key()

    async def claim(real: Any, claims: Any) -> Any:
        kept = first_edition(hash_key, submission(idempotency_key="k", **then))
        return await real([replace(each, notification=replace(each.notification, fingerprint=kept)) for each in claims])

    core.journal.hooks["claim"] = claim
    first = await ask(core, then)
    core.journal.hooks.clear()

    assert first is not None
    for now in (LEFT_OUT, SPELT_OUT, {"sender": "ACME"}, {"max_segments": 10}):
        assert await ask(core, now) == first
    assert await ask(core, {"max_segments": 3}) is None
    assert await ask(core, {"reference": "other"}) is None
