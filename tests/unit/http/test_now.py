"""What an operator is told first: whether messages go out, and if not, why."""

from relay.domain.codes import Code, ProblemCode
from relay.domain.notification import Outcome
from relay.observability.metric_table import CLIENTS
from relay.sending.ports import JournalUnavailable
from support.front import ORDERS_KEY, Front, make_metrics

PATH = "/v1/operator/now"


async def test_an_operator_sees_how_things_stand() -> None:
    front = Front(metrics=make_metrics())
    front.metrics.set("relay_upstream_balance_units", 256.21, "smsclone")
    front.metrics.set("relay_upstream_balance_read_timestamp_seconds", front.clock.now_ms() / 1000, "smsclone")
    front.metrics.set("relay_upstream_breaker_state", 2, "smsclone")
    front.metrics.set("relay_queue_depth", 340, "queued")
    front.metrics.set("relay_queue_oldest_age_seconds", 12.5)
    front.metrics.add("relay_refusals_total", "accept", ProblemCode.OVERLOADED, amount=41)
    front.metrics.add("relay_unknown_total", "no_answer", amount=3)
    front.metrics.follow(CLIENTS, ["billing", "orders", "idle"])
    front.metrics.set("relay_places_in_use", 2, "billing")
    front.metrics.set("relay_places_in_use", 61, "orders")

    now = (await front.request("GET", PATH)).json()

    assert (now["version"], now["journal"], now["word_lists"], now["draining"]) == ("1.2.3", "ok", "ok", False)
    [account] = now["accounts"]
    assert (account["account"], account["breaker"], account["units"]) == ("smsclone", "open", "256.21")
    assert account["read_at"].startswith("2026-12-01T10:00:00")
    assert {"state": "queued", "count": 340, "oldest_seconds": 12.5} in now["queue"]
    assert now["refusals"] == [{"code": "overloaded", "count": 41}]
    assert now["unknown"] == {"open": 0, "oldest_at": None, "last_hour": 3}
    assert now["places"] == [{"client": "orders", "in_use": 61}, {"client": "billing", "in_use": 2}]
    assert now["max_places"] == 200


async def test_a_balance_that_was_never_read_is_no_zero() -> None:
    now = (await Front().request("GET", PATH)).json()

    assert (now["accounts"][0]["units"], now["accounts"][0]["read_at"]) == (None, None)


async def test_open_outcomes_are_counted_and_the_oldest_is_named() -> None:
    front = Front(metrics=make_metrics())
    front.core.outcome = lambda _: Outcome(code=Code.NO_ANSWER)
    sent = (await front.send()).json()

    now = (await front.request("GET", PATH)).json()

    assert now["unknown"] == {"open": 1, "oldest_at": sent["created_at"], "last_hour": 0}


async def test_how_things_stand_is_told_while_the_journal_fails() -> None:
    front = Front(metrics=make_metrics())
    front.core.refusal = JournalUnavailable("unreachable")

    now = (await front.request("GET", PATH)).json()

    assert now["unknown"] == {"open": None, "oldest_at": None, "last_hour": 0}


async def test_only_operators_may_look() -> None:
    reply = await Front(key=ORDERS_KEY).request("GET", PATH)

    assert (reply.status, reply.code) == (403, "permission_missing")
    assert (await Front(key=None).request("GET", PATH)).status == 401
