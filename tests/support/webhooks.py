"""The webhook front for tests, with a fake core behind it; and bodies written from the senders' documented fields."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st
from msgspec.structs import replace

from relay.app.routes import openapi_document
from relay.domain.secret import Secret
from relay.domain.templates import TemplateBook
from relay.http.application import Surroundings, build_application
from relay.http.auth import Gate
from relay.settings import ReceiverSettings
from relay.webhooks.credentials import WebhookAuthenticator
from relay.webhooks.front import WebhookController, Webhooks
from relay.webhooks.receivers import Receiver, make_receivers
from support.front import BILLING_KEY, Front, Reply

NUMBER = "08031234567"
OTHER_NUMBER = "08031234568"
GRAFANA_SECRET = "canary-hmac-secret-3Z"

RECEIVERS = (
    ReceiverSettings(name="oncall", client="billing", recipients=(NUMBER,), hmac_secret=Secret(GRAFANA_SECRET)),
    ReceiverSettings(name="theirs", client="orders", recipients=(NUMBER,)),
)


def make_receiver(**fields: Any) -> Receiver:
    """One receiver, compiled; ``fields`` as in the settings."""
    settings = ReceiverSettings(**({"name": "oncall", "client": "billing", "recipients": (NUMBER,)} | fields))
    return make_receivers([settings])["oncall"]


class AlertsWitness:
    """Takes what webhooks told."""

    def __init__(self) -> None:
        self.alerts: list[dict[str, Any]] = []
        self.failed_templates: list[dict[str, str]] = []

    def record_alerts(self, **fields: Any) -> None:
        self.alerts.append(fields)

    def record_template_failed(self, **fields: str) -> None:
        self.failed_templates.append(fields)


@dataclass
class WebhookFront(Front):
    """The whole front with webhooks."""

    receivers: dict[str, Receiver] = field(default_factory=lambda: make_receivers(RECEIVERS))
    told: AlertsWitness = field(default_factory=AlertsWitness)

    def __post_init__(self) -> None:
        gate = Gate(lambda: self.keys, lambda: self.clients, self.clock)
        doorman = WebhookAuthenticator(gate, lambda: self.clients, self.clock)
        self.webhooks = Webhooks(lambda: self.receivers, doorman, self.core, self.told, self.clock)
        surroundings = Surroundings(events=self.witness, recorder=self.witness, clock=self.clock, ids=_Ids())
        self.app = build_application(
            surroundings,
            sending=self.core,
            operations=self.core,
            gate=gate,
            metrics=self.witness,
            word_lists=lambda: "ok",
            template_state=lambda: "ok",
            templates=TemplateBook,
            pages=self.pages,
            document=openapi_document,
            more=(WebhookController,),
            services={"webhooks": self.webhooks},
        )

    def use(self, **fields: Any) -> None:
        """Give ``oncall`` other settings."""
        self.receivers["oncall"] = make_receiver(**fields)

    def change_client(self, name: str, **fields: Any) -> None:
        """Give a client other rules."""
        self.clients[name] = replace(self.clients[name], **fields)

    async def post(
        self,
        body: Any,
        kind: str = "alertmanager",
        receiver: str = "oncall",
        headers: Mapping[str, str] | None = None,
        key: str | None = BILLING_KEY,
    ) -> Reply:
        """Post a webhook."""
        return await self.request("POST", f"/v1/webhooks/{kind}/{receiver}", body, headers or {}, key=key)


class _Ids:
    def new_id(self) -> str:
        return "fresh"


def alertmanager_body(*alerts: Any, status: str = "firing", **fields: Any) -> dict[str, Any]:
    """What Alertmanager posts (data version 4): every documented field."""
    told = list(alerts) or [alertmanager_alert()]
    return {
        "version": "4",
        "groupKey": '{}:{alertname="HighLatency"}',
        "truncatedAlerts": 0,
        "status": status,
        "receiver": "relay",
        "groupLabels": {"alertname": "HighLatency"},
        "commonLabels": {"alertname": "HighLatency"},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager.internal:9093",
        "alerts": told,
    } | fields


def alertmanager_alert(name: str = "HighLatency", status: str = "firing", **labels: str) -> dict[str, Any]:
    """One of its alerts."""
    return {
        "status": status,
        "labels": {"alertname": name, **labels},
        "annotations": {"summary": "p99 is over 1 s"},
        "startsAt": "2026-12-01T09:00:00.123456789Z",
        "endsAt": "0001-01-01T00:00:00Z" if status == "firing" else "2026-12-01T09:30:00Z",
        "generatorURL": "http://prometheus.internal:9090/graph?g0.expr=up",
        "fingerprint": f"{abs(hash((name, *sorted(labels.items())))):016x}"[:16],
    }


def grafana_body(*alerts: Any, status: str = "firing", **fields: Any) -> dict[str, Any]:
    """What Grafana posts: every documented field."""
    return {
        "receiver": "relay",
        "status": status,
        "orgId": 1,
        "alerts": list(alerts),
        "groupLabels": {"alertname": "High memory usage", "grafana_folder": "Platform"},
        "commonLabels": {"grafana_folder": "Platform"},
        "commonAnnotations": {},
        "externalURL": "https://grafana.internal/",
        "appVersion": "12.3.0",
        "version": "1",
        "groupKey": '{}/{}:{alertname="High memory usage"}',
        "truncatedAlerts": 0,
        "title": f"[{status.upper()}:{len(alerts)}]  (Platform)",
        "state": "alerting" if status == "firing" else "ok",
        "message": "**Firing**\n\nValue: B=44.2, C=1\nLabels:\n - alertname = High memory usage\n",
    } | fields


def grafana_alert(
    name: str = "High memory usage", status: str = "firing", summary: str = "Memory is over 90 %", **labels: str
) -> dict[str, Any]:
    """One of its alerts."""
    return {
        "status": status,
        "labels": {"alertname": name, "grafana_folder": "Platform", **labels},
        "annotations": {"summary": summary, "runbook_url": "https://wiki.internal/runbook/1234"},
        "startsAt": "2026-12-01T10:51:03.157076+01:00",
        "endsAt": "0001-01-01T00:00:00Z" if status == "firing" else "2026-12-01T11:00:03.157076+01:00",
        "generatorURL": "https://grafana.internal/alerting/grafana/1afz29v7z/view?orgId=1",
        "fingerprint": f"{abs(hash((name, *sorted(labels.items())))):016x}"[:16],
        "silenceURL": "https://grafana.internal/alerting/silence/new?alertmanager=grafana",
        "dashboardURL": "https://grafana.internal/d/abc?orgId=1",
        "panelURL": "",
        "values": {"B": 44.23943737541908, "C": 1} if status == "firing" else None,
        "valueString": "[ var='B' labels={} value=44.2 ], [ var='C' labels={} value=1 ]",
    }


def no_data_body() -> dict[str, Any]:
    """What Grafana posts when a query returns nothing: an alert of its own, named ``DatasourceNoData``."""
    alert = grafana_alert("DatasourceNoData", summary="", rulename="High memory usage", datasource_uid="P0001")
    return grafana_body(alert | {"values": None, "annotations": {}}, groupLabels={"alertname": "DatasourceNoData"})


# What might stand in a body, in every place of it: any JSON, half characters among its texts.

_names = st.sampled_from(["alertname", "summary", "Message", "severity", "rulename"]) | st.text(
    st.characters(exclude_categories=()), max_size=3
)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=()), max_size=8)
    | st.sampled_from(["resolved", " OK", "firing", "2026-12-01T09:00:00+01:00", 10**30]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names, inner, max_size=4),
    max_leaves=10,
)
_alerts = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(["status", "labels", "annotations", "startsAt", "fingerprint", "x"], json_values)
)
alert_groups = st.fixed_dictionaries(
    {"alerts": _alerts.filter(bool) | st.lists(_alerts | json_values, max_size=4)},
    optional=dict.fromkeys(
        ["status", "state", "groupKey", "groupLabels", "commonLabels", "commonAnnotations", "truncatedAlerts"],
        json_values,
    ),
)
