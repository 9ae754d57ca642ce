"""Several accounts in one stand-in: each has its own name, password, balance, prices, senders and switches."""

import json
from decimal import Decimal

import msgspec
import pytest

from relay.domain.secret import Secret
from relay.sandbox.responder import Responder
from relay.sandbox.switches import SandboxAccount, parse_account
from support.sandbox import BALANCE, FALLBACK, NORMAL, ask, make_responder

RESELLER = SandboxAccount(
    name="backup",
    username="team",
    password=Secret("first-secret"),
    units=Decimal(10),
    price=Decimal("1.5"),
    price_dnd=Decimal(4),
    senders=("ACME",),
)


@pytest.fixture
def responder() -> Responder:
    return make_responder(accounts=(RESELLER,))


def at_backup(responder: Responder, path: str = FALLBACK, **change: str) -> str:
    """Ask the second account."""
    return ask(responder, path, **{"username": "team", "password": "first-secret"} | change)


def test_each_account_takes_its_own_name_and_password_and_tells_its_own_balance(responder: Responder) -> None:
    assert (ask(responder, BALANCE), at_backup(responder, BALANCE)) == ("10000.00", "10.00")
    assert at_backup(responder, password="demo").startswith("TG11")
    assert ask(responder, username="nobody").startswith("TG11")
    assert [entry.account for entry in responder.ledger.since()] == ["smsclone", "backup", "backup", ""]


def test_an_account_takes_its_own_price_until_its_units_are_gone(responder: Responder) -> None:
    answers = [at_backup(responder, path) for path in (NORMAL, FALLBACK, FALLBACK, FALLBACK)]

    assert [answer[:4] for answer in answers] == ["TG00", "TG00", "TG00", "TG17"]
    assert [entry.units for entry in responder.ledger.since()] == ["1.5", "4", "4", "0"]
    assert (at_backup(responder, BALANCE), ask(responder, BALANCE)) == ("0.50", "10000.00")


def test_a_password_changes_while_it_is_asked(responder: Responder) -> None:
    responder.registry.change("backup", {"password": "two"})

    assert at_backup(responder).startswith("TG11")
    assert at_backup(responder, password="two").startswith("TG00")
    assert ask(responder).startswith("TG00")


def test_a_switch_is_one_accounts(responder: Responder) -> None:
    responder.registry.change("backup", {"no_balance": True, "calls": 1})

    assert [ask(responder)[:4], at_backup(responder)[:4], at_backup(responder)[:4]] == ["TG00", "TG17", "TG00"]


@pytest.mark.parametrize(("switch", "outcome"), [("rejected", "rejected"), ("renamed", "sent")])
def test_a_sender_that_is_not_registered_is_rejected_or_sent_under_another_name(
    responder: Responder, switch: str, outcome: str
) -> None:
    responder.registry.change("backup", {"unregistered": switch})
    at_backup(responder, sender="Orders")
    at_backup(responder, sender="ACME")

    [[odd], [good]] = [entry.deliveries for entry in responder.ledger.since()]
    assert (odd.outcome, odd.rule.startswith("sender not registered")) == (outcome, True)
    assert (good.outcome, good.rule) == ("sent", "magic number: sent")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("third", {"units": "1"}),
        ("backup", {"units": "many"}),
        ("backup", {"username": "demo"}),
        ("backup", {"password": 7}),
        ("backup", {"price": "2", "fields": 7}),
        ("backup", {"name": "other"}),
    ],
)
def test_a_change_that_cannot_be_changes_nothing(responder: Responder, name: str, change: dict[str, object]) -> None:
    before = [account.describe() for account in responder.registry.accounts.values()]

    with pytest.raises(msgspec.ValidationError):
        responder.registry.change(name, change)

    assert [account.describe() for account in responder.registry.accounts.values()] == before


def test_no_password_is_shown(responder: Responder) -> None:
    shown = json.loads(msgspec.json.encode([account.describe() for account in responder.registry.accounts.values()]))

    assert [each["username"] for each in shown] == ["demo", "team"]
    assert "secret" not in json.dumps(shown)


@pytest.mark.parametrize(
    "text",
    [
        "name=backup,username=u",
        "username=u,password=p",
        "name=b,username=u,password=p,size=3",
        "backup",
        "",
        "name=b,username=u,password=p,units=many",
    ],
)
def test_an_account_that_is_not_whole_is_no_account(text: str) -> None:
    with pytest.raises(ValueError, match="give"):
        parse_account(text)


@pytest.mark.parametrize(("name", "username"), [("smsclone", "team"), ("backup", "demo")])
def test_two_accounts_are_told_apart_by_both_names(name: str, username: str) -> None:
    with pytest.raises(ValueError, match="two accounts"):
        make_responder(accounts=(SandboxAccount(name=name, username=username, password=Secret("x")),))
