"""How much of their budgets clients have spent: for the gauge, and for a word before nothing fits any more."""

from collections.abc import Callable, Mapping
from decimal import Decimal

from relay.domain.clients import Client
from relay.domain.routing import day_of
from relay.sending.delivery import Runtime
from relay.sending.events import BudgetMeasured

TOLD_AT = (100, 80)
"""Per cent of a budget at which a log line says so."""


class BudgetWatch:
    """Looks at the budgets of this month."""

    def __init__(self, runtime: Runtime, clients: Callable[[], Mapping[str, Client]]) -> None:
        self._journal = runtime.journal
        self._clock = runtime.clock
        self._events = runtime.events
        self._zone = runtime.policy.day_zone
        self._clients = clients
        self._told: dict[str, tuple[str, int]] = {}
        """By client: the month, and the per cent that were told of it."""

    async def measure(self) -> None:
        """Look; one replica tells it for all, the others say 0."""
        limits = {
            name: client.units_per_month
            for name, client in self._clients().items()
            if client.units_per_month is not None and not client.sandbox
        }
        month = day_of(self._clock.now_ms(), self._zone)[:7]
        leads = bool(limits or self._told) and await self._journal.leads()
        spent = await self._journal.spent(month) if leads else {}
        for name in (*limits, *(self._told.keys() - limits.keys())):
            used, limit = spent.get(name, Decimal(0)), limits.get(name)
            ratio = 0.0 if limit is None or not leads else float(used / limit) if limit else 1.0
            reached = next((percent for percent in TOLD_AT if ratio * 100 >= percent), 0)
            before = self._told.get(name, (month, 0))
            is_news = reached > (before[1] if before[0] == month else 0)
            self._told[name] = (month, reached)
            self._events.emit(
                BudgetMeasured(
                    client=name,
                    month=month,
                    ratio=ratio,
                    used=used,
                    limit=limit or Decimal(0),
                    reached=reached if is_news else None,
                )
            )
