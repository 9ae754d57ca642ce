"""``/metrics``, in the format that the scraper asks for."""

import asyncio
from typing import Protocol

from relay.http.exchange import Exchange, Reply, Route


class MetricsSource(Protocol):
    """Renders what was counted."""

    def render(self, accept: str) -> tuple[bytes, str]:
        """Give the body and its Content-Type, for the value of an ``Accept`` header."""
        ...


class MetricsPage:
    """The endpoint for Prometheus."""

    def __init__(self, source: MetricsSource) -> None:
        self._source = source

    def routes(self) -> list[Route]:
        """What is served here."""
        return [Route("GET", "/metrics", self.scrape)]

    async def scrape(self, exchange: Exchange) -> Reply:
        """Everything that was counted so far."""
        accept = b", ".join(exchange.all_values(b"accept")).decode("latin-1")
        # Thousands of series take milliseconds: in a thread they delay nobody's message.
        body, content_type = await asyncio.to_thread(self._source.render, accept)
        return Reply(200, body, content_type.encode("ascii"))
