"""``GET /v1/usage``: whose, by what, of which days; as JSON and as CSV."""

import csv
import io

import pytest

from relay.domain.codes import Permission
from support.front import ORDERS_KEY, REQUEST, Front, make_clients

NOVEMBER = "from=2026-11-01&to=2026-12-01"


async def test_usage_comes_by_the_fields_that_were_asked_for() -> None:
    reply = await Front().request("GET", f"/v1/usage?{NOVEMBER}&by=client,billing_code")

    assert reply.json() == {
        "from": "2026-11-01",
        "to": "2026-12-01",
        "by": ["client", "billing_code"],
        "estimate": True,
        "rows": [
            {
                "client": "=client-all",
                "billing_code": "=billing_code-all",
                "messages": 1,
                "recipients": 2,
                "segments": 4,
                "units": "4.5",
            }
        ],
    }


async def test_without_fields_there_is_one_row_for_all() -> None:
    reply = await Front().request("GET", f"/v1/usage?{NOVEMBER}")

    assert reply.json()["rows"] == [{"messages": 1, "recipients": 2, "segments": 4, "units": "4.5"}]


async def test_csv_has_the_same_names_and_nothing_that_a_spreadsheet_would_run() -> None:
    reply = await Front().request("GET", f"/v1/usage?{NOVEMBER}&by=client", headers={"Accept": "text/csv"})

    assert reply.headers["content-type"] == "text/csv; charset=utf-8"
    assert list(csv.reader(io.StringIO(reply.body.decode()))) == [
        ["client", "messages", "recipients", "segments", "units"],
        ["'=client-all", "1", "2", "4", "4.5"],
    ]


async def test_a_client_sees_its_own_with_the_permission_usage() -> None:
    clients = make_clients()
    refused = await Front().request("GET", f"/v1/usage?{NOVEMBER}", key=ORDERS_KEY)
    assert (refused.status, refused.code) == (403, "permission_missing")
    assert Permission.USAGE not in clients["orders"].permissions


@pytest.mark.parametrize(
    ("query", "field", "code"),
    [
        ("from=2026-11-01", "to", "required"),
        ("from=yesterday&to=2026-12-01", "from", "malformed"),
        ("from=2026-11-31&to=2026-12-01", "from", "malformed"),
        ("from=20261101&to=2026-12-01", "from", "malformed"),
        ("from=2026-11-01&to=2026-11-01", "to", "out_of_range"),
        ("from=2026-12-01&to=2026-11-01", "to", "out_of_range"),
        (f"{NOVEMBER}&by=colour", "by", "unlisted_value"),
        (f"{NOVEMBER}&by=client,client", "by", "unlisted_value"),
        (f"{NOVEMBER}&by=", "by", "unlisted_value"),
    ],
)
async def test_a_parameter_that_cannot_be_read_is_422(query: str, field: str, code: str) -> None:
    reply = await Front().request("GET", f"/v1/usage?{query}")

    assert reply.status == 422, reply.body
    assert [(error["field"], error["code"]) for error in reply.json()["errors"]] == [(field, code)]


async def test_a_billing_code_is_echoed_and_a_bad_one_refused() -> None:
    front = Front()
    sent = await front.send({}, billing_code="marketing")
    plain = await front.send({})
    bad = await front.request("POST", "/v1/notifications", REQUEST | {"billing_code": "two words"})

    assert sent.json()["billing_code"] == "marketing"
    assert "billing_code" not in plain.json()
    assert [error["field"] for error in bad.json()["errors"]] == ["billing_code"]
