"""Everything that the relay serves, as one litestar application that is read and never called.

What the OpenAPI document and the labels of the metrics are made of: they cannot name anything else.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from relay.http.application import describe
from relay.http.edge import Routes
from relay.http.export import ExportController
from relay.http.look_ups import LookUpController
from relay.http.message_lists import MessageListController
from relay.http.now import NowController
from relay.http.openapi_document import make_config
from relay.http.openapi_document import openapi_document as write_document
from relay.http.suppressions import SuppressionsController
from relay.webhooks.front import WebhookController

MORE = (
    NowController,
    LookUpController,
    ExportController,
    MessageListController,
    SuppressionsController,
    WebhookController,
)
"""Controllers that need more than the core,"""
SERVICES = ("situation", "lookup", "matching", "suppressions", "webhooks")
"""and what their handlers ask for."""


@cache
def openapi_document() -> dict[str, Any]:
    """The OpenAPI document; the same for every relay of a version."""
    return write_document(describe(MORE, SERVICES, make_config()))


@cache
def route_labels() -> Mapping[str, tuple[str, ...]]:
    """Every template of an address, with the methods that it serves."""
    routes: Routes = describe(MORE, SERVICES).state.routes
    return routes.labels
