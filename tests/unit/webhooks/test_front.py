"""What webhooks are answered: it decides whether a page is repeated, given up, or sent twice."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.domain.codes import MessageType, Permission, ProblemCode, Source
from relay.domain.errors import Blocked, FieldError, LimitReached, NotAllowed, Refusal, Unavailable, ValidationFailed
from relay.domain.secret import Secret
from relay.sending.requests import Answer, Caller, Submission
from relay.webhooks.rendering import clean
from support.fake_core import FakeCore
from support.front import BILLING_KEY, ORDERS_KEY, Reply
from support.webhooks import (
    GRAFANA_SECRET,
    NUMBER,
    OTHER_NUMBER,
    WebhookFront,
    alert_groups,
    alertmanager_alert,
    alertmanager_body,
    grafana_alert,
    grafana_body,
    json_values,
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


class OneSender(FakeCore):
    """Refuses every sender but ACME."""

    def __init__(self, wrong: Refusal) -> None:
        super().__init__()
        self._wrong = wrong

    async def enqueue(self, submissions: Sequence[Submission], caller: Caller) -> list[Answer | Refusal]:
        results: list[Answer | Refusal] = []
        for each in submissions:
            results += await super().enqueue([each], caller) if each.sender == "ACME" else [self._wrong]
        return results


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
            "skipped": 0,
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


async def look(front: WebhookFront, kind: str = "alertmanager", receiver: str = "oncall", **request: Any) -> Reply:
    """Ask how a receiver is set up."""
    return await front.request("GET", f"/v1/webhooks/{kind}/{receiver}", **request)


async def test_a_look_says_how_the_receiver_is_set_up_and_sends_nothing(front: WebhookFront) -> None:
    front.use(recipients=(NUMBER, "nonsense"), hmac_secret=Secret(GRAFANA_SECRET), template="{{ status }}")
    reply = await look(front)

    assert reply.status == 200
    assert reply.json()["recipients"] == ["23480•••••67", "•••••"]
    assert (
        reply.json() | {"kind": "alertmanager", "own_template": True, "signed": False, "problems": []} == reply.json()
    )
    assert (await look(front, "grafana")).json()["signed"] is True
    assert GRAFANA_SECRET.encode() not in reply.body
    assert front.core.requests == []


async def test_a_look_needs_a_key_of_the_receivers_client(front: WebhookFront) -> None:
    assert (await look(front, key=None)).code == "unauthenticated"
    assert (await look(front, key=ORDERS_KEY)).code == "permission_missing"
    assert (await look(front, receiver="nobody")).code == "not_found"
    assert (await look(front, kind="pager")).code == "not_found"
    assert (await look(front, headers=basic(BILLING_KEY), key=None)).status == 200


async def test_a_look_tells_what_could_not_be_sent(front: WebhookFront) -> None:
    assert "fields.message" in (await look(front, "generic")).json()["problems"][0]
    front.use(recipients=(), fields={"message": "a", "recipients": "b"}, any_recipient=True)
    assert "no recipients" in (await look(front, "alertmanager")).json()["problems"][0]
    assert (await look(front, "generic")).json()["problems"] == []


@pytest.mark.parametrize("header", ["X-API-KEY", "x-api-key"])
async def test_a_key_may_come_in_a_header_of_the_senders_own(front: WebhookFront, header: str) -> None:
    front.use(key_header="X-Api-Key")

    assert (await front.post(alertmanager_body(), headers={header: BILLING_KEY}, key=None)).status == 202
    assert (await front.post(alertmanager_body(), headers={header: f"Bearer {BILLING_KEY}"}, key=None)).status == 202
    assert (await front.post(alertmanager_body(), headers={header: "rk_no_no"}, key=None)).status == 401
    assert (await front.post(alertmanager_body(), headers={"x-other": BILLING_KEY}, key=None)).status == 401
    twice = [("x-api-key", BILLING_KEY), ("x-api-key", BILLING_KEY)]
    path = "/v1/webhooks/alertmanager/oncall"
    assert (await front.request("POST", path, alertmanager_body(), twice, key=None)).status == 401


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
        (b" " * ((8 << 20) + 1), 413, "body_too_large"),
    ],
)
async def test_a_body_of_another_kind_can_never_work(front: WebhookFront, body: bytes, status: int, code: str) -> None:
    reply = await front.post(body)

    assert (reply.status, reply.code) == (status, code)


async def test_a_body_that_did_not_come_in_full_may_come_in_full_the_next_time(front: WebhookFront) -> None:
    reply = await front.request("POST", "/v1/webhooks/alertmanager/oncall", chunks=[b"{"], hang_up=True)

    assert (reply.status, reply.code) == (503, "overloaded")


STORM = b'{"commonLabels": {"alertname": "HighLatency"}, "alerts": [%s]}'


@pytest.mark.parametrize(
    ("alert", "count"),
    [
        (b'{"labels":{"alertname":"A","i":"x"}}', 12_000),
        (json.dumps(alertmanager_alert()).encode(), 7_000),
        (b'{"labels":{"alertname":"A","i":"x"}}', 200_000),
    ],
)
async def test_the_page_of_the_greatest_outage_is_not_the_one_that_is_lost(
    front: WebhookFront, alert: bytes, count: int
) -> None:
    reply = await front.post(STORM % b",".join([alert] * count))

    assert (reply.status, reply.json()["firing"]) == (202, count)
    assert front.core.requests[0][0].message.startswith(f"FIRING {count}")
    assert front.told.alerts[0]["firing"] == count


async def test_a_storm_does_not_hold_up_the_others(front: WebhookFront) -> None:
    storm = asyncio.create_task(front.post(STORM % b",".join([json.dumps(alertmanager_alert()).encode()] * 20_000)))
    passed = 0
    while not storm.done():
        await asyncio.sleep(0)
        passed += (await front.request("GET", "/healthz")).status == 200

    assert storm.result().status == 202
    assert passed > 2, "the reading itself does not run in the loop"


async def test_a_client_that_posts_one_storm_after_the_other_holds_up_no_other_client(front: WebhookFront) -> None:
    storm = STORM % b",".join([b'{"labels":{"alertname":"A","i":"x"}}'] * 8_000)
    async with front.webhooks._huge_bodies:
        storms = [asyncio.create_task(front.post(storm)) for _ in range(6)]
        while sum(each.done() for each in storms) < 2:
            await asyncio.sleep(0)
        assert (await front.post(alertmanager_body(), receiver="theirs", key=ORDERS_KEY)).status == 202
        assert sum(each.done() for each in storms) == 2
    replies = await asyncio.gather(*storms)

    assert sorted(reply.status for reply in replies) == [202, 202, 202, 202, 503, 503]
    assert [reply.code for reply in replies if reply.status == 503] == ["overloaded", "overloaded"]
    assert (await front.post(storm)).status == 202


async def test_a_body_of_eight_mebibytes_is_read_in_pieces(front: WebhookFront) -> None:
    body = b'{"labels":{"alertname":"A"},"pad":"' + b"x" * ((8 << 20) - 37) + b'"}'
    pieces = [body[start : start + 65_536] for start in range(0, len(body), 65_536)]

    assert len(body) == 8 << 20
    assert (await front.request("POST", "/v1/webhooks/alertmanager/oncall", chunks=pieces)).status == 202
    reply = await front.request("POST", "/v1/webhooks/alertmanager/oncall", chunks=[*pieces, b" "])
    assert (reply.status, reply.code) == (413, "body_too_large")


async def test_of_those_who_are_not_known_yet_one_at_a_time_may_send_a_large_body(front: WebhookFront) -> None:
    alert = grafana_alert(summary="x" * 1_100_000)
    body, small = (json.dumps(grafana_body(each)).encode() for each in (alert, grafana_alert()))
    async with front.webhooks._doorman._large_bodies:
        refused = await front.post(body, "grafana", headers=signed(body), key=None)
        assert (refused.status, refused.code) == (503, "overloaded")
        assert (await front.post(small, "grafana", headers=signed(small), key=None)).status == 202
        assert (await front.post(body, "grafana")).status == 202, "who has a key is known"

    assert (await front.post(body, "grafana", headers=signed(body), key=None)).status == 202


@pytest.mark.parametrize("kind", ["alertmanager", "grafana"])
@pytest.mark.parametrize(
    "broken",
    [
        {"commonLabels": ""},
        {"commonAnnotations": "none"},
        {"groupLabels": 3},
        {"alerts": [None, alertmanager_alert()]},
        {"alerts": alertmanager_alert()},
        {"alerts": [alertmanager_alert() | {"labels": [], "annotations": "none"}]},
        {"alerts": [alertmanager_alert() | {"annotations": {"summary": "disk \ud83d"}}]},
        {"truncatedAlerts": 10**30},
        {"more": json.loads("[" * 40 + "]" * 40)},
    ],
)
async def test_no_page_is_lost_for_a_value_of_another_kind(
    front: WebhookFront, kind: str, broken: dict[str, Any]
) -> None:
    body = alertmanager_body() if kind == "alertmanager" else grafana_body(grafana_alert())
    reply = await front.post(body | broken, kind)

    assert reply.status == 202
    assert reply.json()["firing"] in (1, 2)


@cache
def one_front() -> WebhookFront:
    """For all examples of a property: to make one costs far more than to ask it."""
    front = WebhookFront()
    front.use(fields={"message": "text"} | dict.fromkeys(["reference", "deduplication_key", "recipients"], "other"))
    return front


@given(alert_groups, st.sampled_from(["alertmanager", "grafana"]))
async def test_a_body_with_an_alert_in_it_is_accepted_whatever_else_stands_in_it(body: Any, kind: str) -> None:
    alerts = body["alerts"] if isinstance(body["alerts"], list) else [body["alerts"]]
    reply = await one_front().post(body, kind)

    assert reply.status == 202 if any(isinstance(alert, dict) for alert in alerts) else reply.status in (202, 422)


@given(json_values, st.text(st.characters(exclude_categories=()), max_size=20) | st.integers() | st.booleans())
async def test_a_generic_body_with_a_message_is_accepted_whatever_else_stands_in_it(
    other: Any, message: str | int
) -> None:
    reply = await one_front().post({"text": message, "other": other}, "generic")

    assert reply.status == 202 if clean(str(message)) else reply.status == 422


@pytest.mark.parametrize("depth", [*range(50, 1_100, 75), 100_000])
async def test_no_depth_of_nesting_is_a_bug(front: WebhookFront, depth: int) -> None:
    front.use(fields={"message": "text"})
    deep = b"[" * depth + b"]" * depth
    for kind in ("generic", "alertmanager"):
        body = b'{"text": "x", "alerts": [{"labels": {"a": "b"}}, {"labels": {"c": %s}}], "deep": %s}' % (deep, deep)
        assert (await front.post(body, kind)).status in ((202,) if depth < 500 else (202, 400))


async def test_what_was_skipped_is_told_to_the_operator(front: WebhookFront) -> None:
    await front.post(alertmanager_body(None, alertmanager_alert()))
    front.use(fields={"message": "text", "sender": "from"})
    await front.post({"text": 12.5, "from": []}, "generic")

    assert [told["skipped"] for told in front.told.alerts] == [1, 1]


async def test_the_same_instant_written_otherwise_is_the_same_page(front: WebhookFront) -> None:
    for starts_at in ("2026-12-01T10:00:00+01:00", "2026-12-01T09:00:00Z"):
        await front.post(alertmanager_body(alertmanager_alert() | {"startsAt": starts_at}))

    [first, second] = [submission.deduplication for submission, _ in front.core.requests]
    assert first == second


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


@pytest.mark.parametrize(
    "wrong",
    [
        ValidationFailed([FieldError("sender", "too_long", "x")]),
        NotAllowed(ProblemCode.SENDER_NOT_ALLOWED, "x"),
        Blocked(ProblemCode.BLOCKED_SENDER, "x", detected_by="relay"),
    ],
)
async def test_a_sender_in_the_body_that_cannot_be_used_costs_no_page(front: WebhookFront, wrong: Refusal) -> None:
    front.core = OneSender(wrong)
    front.__post_init__()
    front.use(fields={"message": "text", "sender": "from"}, sender="ACME")

    assert (await front.post({"text": "x", "from": "prod-db-01-eu-west"}, "generic")).status == 202
    assert front.core.requests[0][0].sender == "ACME"
    assert front.told.alerts[0]["skipped"] == 1


async def test_a_receivers_own_sender_that_cannot_be_used_is_told(front: WebhookFront) -> None:
    front.core = OneSender(NotAllowed(ProblemCode.SENDER_NOT_ALLOWED, "x"))
    front.__post_init__()
    front.use(fields={"message": "text"}, sender="OTHER")

    assert (await front.post({"text": "x"}, "generic")).status == 403


async def test_the_message_type_of_the_receiver_is_sent(front: WebhookFront) -> None:
    front.use(message_type=MessageType.TRANSACTIONAL)
    await front.post(alertmanager_body())

    assert front.core.requests[0][0].message_type is MessageType.TRANSACTIONAL
