"""Who may do what: the calling services as the rules see them (their keys are the front's business)."""

from decimal import Decimal

from msgspec import Struct

from relay.domain.codes import MessageType, Permission, RequestedRoute
from relay.domain.hours import DeliveryWindow

FIRST_ACCOUNT = "smsclone"
"""The account that ``[smsclone]`` describes; the only one that the first edition knew."""


class Client(Struct, frozen=True, kw_only=True):
    """One calling service and what it may do (SPEC section 7). Built from the settings, replaced when they reload.

    ``word_exceptions`` are list entries that neither block nor warn this client. A limit of ``None`` means no limit.
    """

    name: str
    accounts: tuple[str, ...] = (FIRST_ACCOUNT,)
    """Where its sends go, in order of preference; a sandbox client's go to the stand-in."""
    senders: frozenset[str] = frozenset()
    default_sender: str | None = None
    default_billing_code: str | None = None
    delivery_window: DeliveryWindow | None = None
    """When its messages are sent, but for ``otp``."""
    message_types: frozenset[MessageType] = frozenset({MessageType.OTP, MessageType.ALERT, MessageType.TRANSACTIONAL})
    routes: frozenset[RequestedRoute] = frozenset({RequestedRoute.AUTO})
    permissions: frozenset[Permission] = frozenset(
        {Permission.SEND, Permission.READ, Permission.PREVIEW, Permission.BALANCE}
    )
    require_idempotency_key: bool = False
    keys_carry_time: bool = False
    repeat_window_seconds: int = 0
    """So long a request without a key that equals another one is its repetition; 0: never."""
    templates_only: bool = False
    requests_per_second: float | None = None
    recipients_per_day: int | None = None
    units_per_month: Decimal | None = None
    callback_hosts: frozenset[str] = frozenset()
    word_exceptions: frozenset[str] = frozenset()
    sandbox: bool = False

    def may_use(self, sender: str) -> bool:
        """Whether a sender ID is on this client's allow list; its default sender always is."""
        return sender in self.senders or sender == self.default_sender
