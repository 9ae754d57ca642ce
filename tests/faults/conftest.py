"""The stores that the journal's faults happen to."""

from support_stores import shared_store

__all__ = ["shared_store"]
