"""Metrics and a log of their own for one test."""

import pytest

from relay.app.routes import route_labels
from relay.observability.logs import Log
from relay.observability.metric_table import ACCOUNTS, CATEGORIES, CLIENTS
from relay.observability.metrics import Metrics
from relay.observability.recorder import Recorder
from support.log import Lines


@pytest.fixture
def lines() -> Lines:
    return Lines()


@pytest.fixture
def log(lines: Lines) -> Log:
    return Log("debug", lines)


@pytest.fixture
def metrics() -> Metrics:
    made = Metrics(version="1.2.3", system=False)
    made.follow(ACCOUNTS, ["smsclone"])
    made.follow_routes(route_labels())
    made.follow(CLIENTS, ["billing", "shop"])
    made.follow(CATEGORIES, ["prize"])
    made.follow(ACCOUNTS, ["smsclone"])
    return made


@pytest.fixture
def recorder(metrics: Metrics, log: Log) -> Recorder:
    return Recorder(metrics, log.logger)
