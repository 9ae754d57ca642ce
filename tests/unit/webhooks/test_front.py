"""What webhooks are answered: it decides whether a page is repeated, given up, or sent twice."""

import base64
import hashlib
import hmac
import json
from collections.abc import Sequence
from typing import Any

import pytest

from fake_core import FakeCore
from relay.domain.codes import MessageType, Permission, ProblemCode, Source
from relay.domain.errors import Blocked, LimitReached, NotAllowed, Refusal, Unavailable, ValidationFailed
from relay.http.exchange import Exchange
from relay.http.problems import PROBLEMS
from relay.sending.requests import Answer, Caller, Submission
from relay.webhooks.front import _read
from support_front import BILLING_KEY, ORDERS_KEY
from support_webhooks import (
    GRAFANA_SECRET,
    NUMBER,
    OTHER_NUMBER,
    WebhookFront,
    alertmanager_alert,
    alertmanager_body,
    grafana_alert,
    grafana_body,
)


@pytest.fixture
def front() -> WebhookFront:
    return WebhookFront()


def basic(password: str, user: str = "anybody") -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def signed(body: bytes, secret: str = GRAFANA_SECRET, timestamp: int | None = None) -> dict[str, str]:
    prefix = b"" if timestamp is None else b"%d:" % timestamp
    digest = hmac.new(secret.encode(), prefix + body, hashlib.sha256).hexdigest()
    stamped = {} if timestamp is None else {"x-grafana-alerting-timestamp": str(timestamp)}
    return {"x-grafana-alerting-signature": digest, **stamped}


class LimitedAfterOne(FakeCore):
    """Takes one submission, and then meets a limit."""

    async def enqueue(self, submissions: Sequence[Submission], caller: Caller) -> list[Answer | Refusal]:
        return [*await super().enqueue(submissions[:1], caller), *(LIMIT for _ in submissions[1:])]


LIMIT = LimitReached(
    ProblemCode.QUOTA_EXCEEDED, "x", policy="day", limit=1, window_seconds=86_400, retry_after_seconds=900.4
)


async def test_alerts_are_accepted_and_handed_to_the_core(front: WebhookFront) -> None:
    reply = await front.post(alertmanager_body())
    [(submission, caller)] = front.core.requests

    assert reply.status == 202
    assert reply.json()["firing"] == 1
    assert [page["duplicate"] for page in reply.json()["notifications"]] == [False]
    assert submission.recipients == (NUMBER,)
    assert (caller.client.name, caller.source) == ("billing", Source.ALERTMANAGER)
    assert front.told.alerts == [
        {
            "kind": "alertmanager",
            "receiver": "oncall",
            "firing": 1,
            "resolved": 0,
            "duplicate": False,
            "unaddressed": 0,
        }
    ]
    assert front.witness.records[-1]["route"] == "/v1/webhooks/{kind}/{receiver}"


async def test_grafana_is_a_source_of_its_own(front: WebhookFront) -> None:
    reply = await front.post(grafana_body(grafana_alert()), "grafana")

    assert reply.status == 202
    assert front.core.requests[0][1].source is Source.GRAFANA


async def test_a_blocked_word_only_warns(front: WebhookFront) -> None:
    alert = alertmanager_alert() | {"annotations": {"summary": "you have won an urgent outage"}}

    assert (await front.post(alertmanager_body(alert))).status == 202


async def test_a_broken_template_sends_the_default_text(front: WebhookFront) -> None:
    front.use(template="{{ nobody }}")
    reply = await front.post(alertmanager_body())

    assert reply.status == 202
    assert front.core.requests[0][0].message.startswith("FIRING 1")
    assert front.told.failed_templates == [{"receiver": "oncall", "cause": "UndefinedError"}]


async def test_resolved_alerts_that_nobody_wants_are_accepted_and_sent_to_nobody(front: WebhookFront) -> None:
    front.use(resolved=False)
    reply = await front.post(alertmanager_body(alertmanager_alert(status="resolved"), status="resolved"))

    assert reply.status == 202
    assert reply.json()["notifications"] == []
    assert front.core.requests == []


async def test_one_bad_number_among_five_stops_nobody(front: WebhookFront) -> None:
    front.use(recipients=(NUMBER, OTHER_NUMBER, "08031234569", "0803", "08031234560"))
    reply = await front.post(alertmanager_body())
    [stored] = front.core.stored.values()

    assert reply.status == 202
    assert [entry.reason for entry in stored.notification.entries] == [None, None, None, "too_short", None]
    assert [call.recipients for call in stored.calls] == [(0, 1, 2, 4)]


async def test_a_generic_body_is_accepted(front: WebhookFront) -> None:
    front.use(fields={"message": "event.title"})
    reply = await front.post({"event": {"title": "Door open"}}, "generic")

    assert reply.status == 202
    assert front.core.requests[0][0].message == "Door open"
    assert front.core.requests[0][1].source is Source.GENERIC


async def test_a_generic_body_without_our_fields_is_refused_without_its_values(front: WebhookFront) -> None:
    front.use(fields={"message": "event.title"})
    reply = await front.post({"event": "canary"}, "generic")

    assert (reply.status, reply.code) == (422, "validation_failed")
    assert b"canary" not in reply.body


# --- who may pass -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [{}, basic(BILLING_KEY), basic(BILLING_KEY, ""), basic(BILLING_KEY, "a:b"[:1])])
async def test_a_key_opens_as_bearer_and_as_password(front: WebhookFront, headers: dict[str, str]) -> None:
    assert (await front.post(alertmanager_body(), headers=headers)).status == 202


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "-"},
        basic("rk_wrong_wrong"),
        basic(""),
        {"authorization": "Basic !!!!"},
        {"authorization": "Basic " + "A" * 900},
        {"authorization": "Basic " + base64.b64encode(BILLING_KEY.encode()).decode()},
        {"authorization": "Basic " + base64.b64encode(b"\xff:\xff\x00").decode()},
        {"authorization": f"Digest {BILLING_KEY}"},
    ],
)
async def test_without_a_good_key_nothing_is_read(front: WebhookFront, headers: dict[str, str]) -> None:
    reply = await front.post(alertmanager_body(), headers=headers)

    assert (reply.status, reply.code) == (401, "unauthenticated")
    assert front.core.requests == []


async def test_who_has_no_key_does_not_learn_which_receivers_there_are(front: WebhookFront) -> None:
    assert (await front.post(alertmanager_body(), receiver="nobody", key=None)).status == 401
    assert (await front.post(alertmanager_body(), receiver="nobody")).code == "not_found"


async def test_another_clients_receiver_is_refused(front: WebhookFront) -> None:
    reply = await front.post(alertmanager_body(), receiver="theirs")

    assert (reply.status, reply.code) == (403, "permission_missing")
    assert (await front.post(alertmanager_body(), receiver="theirs", key=ORDERS_KEY)).status == 202


async def test_a_client_that_may_not_send_is_refused(front: WebhookFront) -> None:
    front.change_client("billing", permissions=frozenset({Permission.READ}))
    body = json.dumps(grafana_body(grafana_alert())).encode()

    assert (await front.post(body, "grafana")).code == "permission_missing"
    assert (await front.post(body, "grafana", headers=signed(body), key=None)).code == "permission_missing"


async def test_an_unknown_kind_is_not_found(front: WebhookFront) -> None:
    assert (await front.post(alertmanager_body(), "pager")).status == 404


@pytest.mark.parametrize("timestamp", [None, 1_796_119_200, 1_796_119_200 - 299, 1_796_119_200 + 299])
async def test_grafanas_signature_opens_without_a_key(front: WebhookFront, timestamp: int | None) -> None:
    body = json.dumps(grafana_body(grafana_alert())).encode()
    reply = await front.post(body, "grafana", headers=signed(body, timestamp=timestamp), key=None)

    assert reply.status == 202
    assert front.core.requests[0][1].client.name == "billing"


async def test_a_signature_is_told_apart_from_what_it_is_not(front: WebhookFront) -> None:
    body = json.dumps(grafana_body(grafana_alert())).encode()
    old, ahead = 1_796_119_200 - 301, 1_796_119_200 + 301
    refused: list[dict[str, str]] = [
        signed(body, "another secret"),
        signed(body + b" "),
        signed(body, timestamp=old),
        signed(body, timestamp=ahead),
        signed(body, timestamp=1_796_119_200) | {"x-grafana-alerting-timestamp": "1796119201"},
        signed(body) | {"x-grafana-alerting-timestamp": ""},
        signed(body) | {"x-grafana-alerting-timestamp": "now"},
        {"x-grafana-alerting-signature": ""},
        {"x-grafana-alerting-signature": "\xe9"},
    ]

    for headers in refused:
        assert (await front.post(body, "grafana", headers=headers, key=None)).code == "unauthenticated"
        assert (await front.post(body, "grafana", headers=headers)).code == "unauthenticated", "a key does not heal it"
    assert front.core.requests == []


async def test_a_signature_opens_nothing_but_grafanas_webhook(front: WebhookFront) -> None:
    body = json.dumps(grafana_body(grafana_alert())).encode()

    assert (await front.post(body, "alertmanager", headers=signed(body), key=None)).status == 401
    assert (await front.post(body, "grafana", "theirs", headers=signed(body), key=None)).status == 401


# --- what may pass, and what never will -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "refusal",
    [
        LIMIT,
        Refusal(ProblemCode.RATE_LIMITED, "x"),
        Refusal(ProblemCode.RECIPIENT_CAPPED, "x", retry_after_seconds=3),
        Unavailable(ProblemCode.JOURNAL_UNAVAILABLE, "x"),
        Unavailable(ProblemCode.DRAINING, "x"),
        Unavailable(ProblemCode.OVERLOADED, "x"),
        Unavailable(ProblemCode.PAUSED, "x"),
        Unavailable(ProblemCode.UPSTREAM_UNREACHABLE, "x"),
        Refusal(ProblemCode.UPSTREAM_NO_BALANCE, "x"),
        Refusal(ProblemCode.UPSTREAM_CREDENTIALS, "x"),
    ],
)
async def test_what_may_pass_is_503_with_retry_after(front: WebhookFront, refusal: Refusal) -> None:
    front.core.refusal = refusal
    reply = await front.post(alertmanager_body())

    assert (reply.status, reply.json()["status"], reply.code) == (503, 503, refusal.code.value)
    assert int(reply.headers["retry-after"]) >= 1
    assert front.told.alerts == []


async def test_a_limit_says_when_it_passes(front: WebhookFront) -> None:
    front.core.refusal = LIMIT

    assert (await front.post(alertmanager_body())).headers["retry-after"] == "901"


async def test_a_bug_before_the_claim_is_5xx(front: WebhookFront) -> None:
    front.core.bug = RuntimeError("canary")
    reply = await front.post(alertmanager_body())

    assert reply.status == 500
    assert b"canary" not in reply.body


@pytest.mark.parametrize(
    ("refusal", "status"),
    [
        (ValidationFailed([]), 422),
        (NotAllowed(ProblemCode.SENDER_NOT_ALLOWED, "x"), 403),
        (Blocked(ProblemCode.BLOCKED_WORDS, "x", detected_by="relay"), 422),
    ],
)
async def test_what_can_never_work_is_4xx(front: WebhookFront, refusal: Refusal, status: int) -> None:
    front.core.refusal = refusal

    assert (await front.post(alertmanager_body())).status == status


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"alerts", 400, "invalid_json"),
        (b"[" * 5_000 + b"]" * 5_000, 400, "invalid_json"),
        (b'{"alerts": ["\xff"]}', 400, "invalid_json"),
        (b"{}", 422, "validation_failed"),
        (b'{"alerts": []}', 422, "validation_failed"),
        (b" " * ((1 << 20) + 1), 413, "body_too_large"),
    ],
)
async def test_a_body_of_another_kind_can_never_work(front: WebhookFront, body: bytes, status: int, code: str) -> None:
    reply = await front.post(body)

    assert (reply.status, reply.code) == (status, code)


async def test_a_body_that_did_not_come_in_full_may_come_in_full_the_next_time() -> None:
    async def hang_up() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    exchange = Exchange({"method": "POST", "path": "/", "headers": []}, hang_up)
    with pytest.raises(Unavailable) as caught:
        await _read(exchange)

    assert PROBLEMS[caught.value.code].status == 503


async def test_the_media_type_does_not_matter(front: WebhookFront) -> None:
    body = json.dumps(alertmanager_body()).encode()

    assert (await front.post(body, headers={"content-type": "text/plain"})).status == 202
    assert (await front.post(body, headers={"content-type": "-"})).status == 202


async def test_alerts_that_reach_nobody_are_told(front: WebhookFront) -> None:
    front.use(recipients=(), recipients_label="oncall", recipients_allowed=(NUMBER,))
    lost, found = alertmanager_alert("A"), alertmanager_alert("B", oncall=NUMBER)

    assert (await front.post(alertmanager_body(lost))).status == 422
    reply = await front.post(alertmanager_body(lost, found))
    assert (reply.status, reply.json()["unaddressed"]) == (202, 1)
    assert front.told.alerts[-1]["unaddressed"] == 1


async def test_where_some_may_pass_the_sender_comes_again_for_all(front: WebhookFront) -> None:
    front.use(recipients=(), recipients_label="oncall", recipients_allowed=(NUMBER, OTHER_NUMBER))
    body = alertmanager_body(alertmanager_alert("A", oncall=NUMBER), alertmanager_alert("B", oncall=OTHER_NUMBER))
    front.core = LimitedAfterOne()
    front.__post_init__()

    assert (await front.post(body)).status == 503


async def test_the_message_type_of_the_receiver_is_sent(front: WebhookFront) -> None:
    front.use(message_type=MessageType.TRANSACTIONAL)
    await front.post(alertmanager_body())

    assert front.core.requests[0][0].message_type is MessageType.TRANSACTIONAL
