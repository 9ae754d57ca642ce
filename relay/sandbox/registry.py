"""The accounts of the stand-in: who may ask, what is left, and how each behaves now.

One account is called ``smsclone``; further ones are what a reseller with the same software would be. They share the
ledger and nothing else: balance, prices, registered senders and switches are each account's own.
"""

from collections.abc import Mapping
from decimal import Decimal

import msgspec
from msgspec.structs import replace

from relay.domain.secret import Secret
from relay.sandbox.dialect import ROUTES, SmsRequest
from relay.sandbox.switches import SandboxAccount, SandboxConfig, SwitchBoard, parse_units

FIRST = "smsclone"
"""The name of the account of which the configuration itself tells."""

_UNLIMITED = Decimal("10000.00")
"""The balance shown if units never run out."""

CHANGES = ("username", "password", "units", "price", "price_dnd", "senders")
"""What may change of an account while it is asked."""


class StandinAccount:
    """One account, as it is now."""

    def __init__(self, account: SandboxAccount, switches: SwitchBoard) -> None:
        self.facts = account
        self.switches = switches

    @property
    def units(self) -> Decimal:
        """Units left."""
        return _UNLIMITED if self.facts.units is None else self.facts.units

    def may_spend(self, units: Decimal) -> bool:
        """Whether so many are left."""
        return self.facts.units is None or self.facts.units >= units

    def spend(self, units: Decimal) -> None:
        """Take units."""
        if self.facts.units is not None:
            self.facts = replace(self.facts, units=self.facts.units - units)

    def price_of(self, path: str) -> Decimal:
        """What a segment to a recipient costs by a path."""
        is_dnd = ROUTES.get(path) != "normal" and self.facts.price_dnd is not None
        return self.facts.price_dnd if is_dnd and self.facts.price_dnd is not None else self.facts.price

    def has_registered(self, sender: str) -> bool:
        """Whether a sender may be used."""
        return not self.facts.senders or sender in self.facts.senders

    def describe(self) -> dict[str, object]:
        """What a person sees of it; never the password."""
        return {
            "name": self.facts.name,
            "username": self.facts.username,
            "units": f"{self.units:.2f}",
            "price": str(self.facts.price),
            "price_dnd": None if self.facts.price_dnd is None else str(self.facts.price_dnd),
            "senders": self.facts.senders,
            "set": self.switches.describe()["set"],
        }


class Registry:
    """Every account, found by the user name that a request gives."""

    def __init__(self, config: SandboxConfig) -> None:
        first = SandboxAccount(name=FIRST, username=config.username, password=config.password, units=config.units)
        every = (first, *config.accounts)
        if len({account.name for account in every}) < len(every):
            raise ValueError(f"two accounts have one name; {FIRST} is the first one's")
        if len({account.username for account in every}) < len(every):
            raise ValueError("two accounts have one user name")
        self.accounts = {account.name: StandinAccount(account, SwitchBoard(config.switches)) for account in every}

    @property
    def first(self) -> StandinAccount:
        """The account ``smsclone``."""
        return self.accounts[FIRST]

    def find(self, request: SmsRequest) -> StandinAccount | None:
        """Whose user name a request gives."""
        name = request.get("username")
        return next((account for account in self.accounts.values() if account.facts.username == name), None)

    def change(self, name: str, change: Mapping[str, object]) -> None:
        """Change an account: what is in ``CHANGES``, and its switches.

        Raises:
            msgspec.ValidationError: an unknown account or field, or a value it cannot have. Nothing was changed.
        """
        account = self.accounts.get(name)
        if account is None:
            raise msgspec.ValidationError(f"account: one of {', '.join(self.accounts)}")
        facts = msgspec.structs.asdict(account.facts)
        for field in CHANGES:
            if field in change:
                facts[field] = _read(field, change[field])
        others = {each.facts.username for each in self.accounts.values() if each is not account}
        if facts["username"] in others:
            raise msgspec.ValidationError("username: another account has it")
        account.switches.set({field: value for field, value in change.items() if field not in CHANGES})
        account.facts = SandboxAccount(**facts)


def _read(field: str, value: object) -> object:
    if field in ("units", "price", "price_dnd"):
        if value is None and field == "price_dnd":
            return None
        try:
            return parse_units(value)
        except msgspec.ValidationError:
            raise msgspec.ValidationError(f"{field}: give a decimal number") from None
    if field == "senders":
        return msgspec.convert(value, tuple[str, ...])
    text = msgspec.convert(value, str)
    return Secret(text) if field == "password" else text
