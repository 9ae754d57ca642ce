"""Fixtures that several tiers share."""

from hypothesis import settings

from support_postgres import emptied_postgres_url, postgres_server, postgres_url, shared_database

__all__ = ["emptied_postgres_url", "postgres_server", "postgres_url", "shared_database"]

# How long an example takes depends on what else the machine does; no test asserts it.
settings.register_profile("relay", deadline=None)
settings.load_profile("relay")
