"""Where calls go: the accounts behind their breakers and bulkheads, and the right to make one call there."""

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from relay.domain.clients import FIRST_ACCOUNT, Client
from relay.domain.codes import AccountReason
from relay.domain.notification import Stored
from relay.sending.breaker import Breaker
from relay.sending.bulkhead import Bulkhead
from relay.sending.ports import SendResult, Upstream
from relay.sending.shares import Asker


class Channel(Struct, frozen=True):
    """An account behind its circuit breaker and its bulkhead; or the stand-in for sandbox clients.

    ``senders`` are the sender IDs registered there (none: every one), ``timeout_seconds`` is the deadline of one call
    and ``balance_interval_seconds`` how often the balance is read (``None``: the policy's).
    """

    upstream: Upstream
    breaker: Breaker
    bulkhead: Bulkhead
    account: str = FIRST_ACCOUNT
    senders: frozenset[str] = frozenset()
    timeout_seconds: float | None = None
    balance_interval_seconds: float | None = None

    def has_registered(self, sender: str) -> bool:
        """Whether messages of this sender can go out by it."""
        return not self.senders or sender in self.senders


class Permit:
    """The right to make one call over a channel: one of its bulkhead's permits and, while its breaker is half open, the
    trial. To be made where a permit of the bulkhead was just acquired and the breaker lets calls through."""

    __slots__ = ("_asker", "_call", "_is_trial", "channel", "reason")

    def __init__(self, channel: Channel, asker: Asker, reason: AccountReason | None = None) -> None:
        self.channel = channel
        """Where the call is made."""
        self.reason = reason
        """Why it is not over the client's first account."""
        self._asker = asker
        self._is_trial = channel.breaker.begin_call()
        self._call = 0

    def begin(self, now: float) -> None:
        """The call is made. ``now`` is monotonic seconds."""
        self._call = self.channel.breaker.begin_waiting(now)

    def give_back(self) -> None:
        """The call was not made."""
        self.channel.breaker.end_waiting(self._call)
        self.channel.bulkhead.release(self._asker)
        if self._is_trial:
            self.channel.breaker.withdraw_trial()

    def settle(self, result: SendResult, now: float) -> None:
        """The call is over. ``now`` is monotonic seconds."""
        self.channel.bulkhead.release(self._asker)
        self.channel.breaker.end_waiting(self._call)
        self.channel.breaker.record_send(result, now, trial=self._is_trial)


class Channels(Struct, frozen=True):
    """Every channel of the process: the accounts by name, and the stand-in.

    ``order`` is what a client takes that is no longer in the settings; ``clients`` is read at every use. An account
    that was not ready when the process started has no channel, and whoever names it goes on to the next.
    """

    accounts: Mapping[str, Channel]
    sandbox: Channel
    order: tuple[str, ...] = (FIRST_ACCOUNT,)
    clients: Callable[[], Mapping[str, Client]] = dict

    def of(self, client: Client) -> tuple[Channel, ...]:
        """Where the notifications of a client go, in its order of preference."""
        return (self.sandbox,) if client.sandbox else self._named(client.accounts)

    def of_stored(self, stored: Stored) -> tuple[Channel, ...]:
        """Where a notification goes that was accepted before."""
        if stored.notification.sandbox:
            return (self.sandbox,)
        client = self.clients().get(stored.notification.client)
        return self._named(self.order if client is None or client.sandbox else client.accounts)

    def _named(self, names: Sequence[str]) -> tuple[Channel, ...]:
        return tuple(channel for name in names if (channel := self.accounts.get(name)) is not None)
