"""Fixtures that several tiers share."""

import os
from functools import cache
from typing import Any

import httpx
from httpx._transports import default as httpx_default
from hypothesis import HealthCheck, settings

from support.moves import judge_prepared
from support.postgres import emptied_postgres_url, postgres_server, postgres_url, shared_database

__all__ = ["emptied_postgres_url", "postgres_server", "postgres_url", "shared_database"]

# How long an example takes depends on what else the machine does; no test asserts it. The suite draws the same examples
# in every run, so that a red run says something of the change it is about; `make fuzz` draws new ones, and more.
AT_ANY_SPEED: dict[str, Any] = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("relay", **AT_ANY_SPEED, derandomize=True)
if examples := os.environ.get("RELAY_TEST_EXAMPLES"):
    settings.register_profile("relay", **AT_ANY_SPEED, max_examples=int(examples))
settings.load_profile("relay")

# Every client of httpx reads all certificates of the machine anew: more work than most requests of a test.
setattr(httpx_default, "create_ssl_context", cache(httpx.create_ssl_context))  # noqa: B010 — it exports no such name


def pytest_sessionfinish() -> None:
    """Nobody uses the journals any more that relays had."""
    judge_prepared()
