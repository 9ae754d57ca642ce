"""Metrics and a log of their own for one test."""

import pytest

from relay.observability.logs import Log
from relay.observability.metrics import Metrics
from relay.observability.recorder import Recorder
from support_log import Lines


@pytest.fixture
def lines() -> Lines:
    return Lines()


@pytest.fixture
def log(lines: Lines) -> Log:
    return Log("debug", lines)


@pytest.fixture
def metrics() -> Metrics:
    made = Metrics(version="1.2.3", system=False)
    made.clients.follow(["billing", "shop"])
    made.sending.follow_categories(["prize"])
    return made


@pytest.fixture
def recorder(metrics: Metrics, log: Log) -> Recorder:
    return Recorder(metrics, log.logger)
