"""Who may do what: the calling services as the rules see them (their keys are the front's business)."""

from msgspec import Struct

from relay.domain.codes import MessageType, Permission, RequestedRoute


class Client(Struct, frozen=True, kw_only=True):
    """One calling service and what it may do (SPEC section 7). Built from the settings, replaced when they reload.

    ``word_exceptions`` are list entries that never stop or warn this client. A limit of ``None`` means no limit.
    """

    name: str
    senders: frozenset[str] = frozenset()
    default_sender: str | None = None
    message_types: frozenset[MessageType] = frozenset({MessageType.OTP, MessageType.ALERT, MessageType.TRANSACTIONAL})
    routes: frozenset[RequestedRoute] = frozenset({RequestedRoute.AUTO})
    permissions: frozenset[Permission] = frozenset(
        {Permission.SEND, Permission.READ, Permission.PREVIEW, Permission.BALANCE}
    )
    require_idempotency_key: bool = False
    requests_per_second: float | None = None
    recipients_per_day: int | None = None
    callback_hosts: frozenset[str] = frozenset()
    word_exceptions: frozenset[str] = frozenset()
    sandbox: bool = False

    def may_use(self, sender: str) -> bool:
        """Whether a sender ID is on this client's allow list; its default sender always is."""
        return sender in self.senders or sender == self.default_sender
