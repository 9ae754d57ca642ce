"""Later, to whom, and by which words: a running relay and its commands."""

import itertools
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.commands import Done, run_command
from support.relay import ClientKey, RelayProcess, make_client, running_relay
from support.upstream import Upstream, running_upstream
from support.waiting import wait_until

pytestmark = pytest.mark.slow

_numbers = itertools.count(2348070000000)
TEMPLATES = """
[[template]]
name = "order_sent"
[template.values]
order = 12
[template.text]
en = "Your order {{ order }} is on its way."
"""

RECEIVER = """
[[receivers]]
name = "{name}"
client = "billing"
any_recipient = true
{what}
[receivers.fields]
message = "text"
recipients = "to"
deduplication_key = "id"
send_at = "at"
"""


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with running_upstream() as running:
        yield running


@pytest.fixture(scope="module")
def client() -> ClientKey:
    return make_client(
        permissions='["send", "read", "preview", "suppress"]', keys_carry_time="true", repeat_window_seconds="600"
    )


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream, client: ClientKey) -> Iterator[RelayProcess]:
    directory = tmp_path_factory.mktemp("later")
    (directory / "templates.toml").write_text(TEMPLATES)
    opens = datetime.now(UTC) + timedelta(hours=3)
    hours = f'{{ from = "{opens:%H:%M}", to = "{opens + timedelta(hours=1):%H:%M}", time_zone = "UTC" }}'
    toml = f'[templates]\nfiles = ["{directory / "templates.toml"}"]\n' + "".join(
        RECEIVER.format(name=name, what=what)
        for name, what in (("calm", "repeat_window_seconds = 600"), ("daytime", f"delivery_window = {hours}"))
    )
    with running_relay(directory, client, upstream=upstream.base_url, toml=toml) as running:
        yield running


def fresh() -> str:
    return str(next(_numbers))


def run(relay: RelayProcess, client: ClientKey, *arguments: str) -> Done:
    return run_command(*arguments, environment={"RELAY_CLIENT_URL": relay.base_url, "RELAY_CLIENT_KEY": client.key})


def ask(relay: RelayProcess, client: ClientKey, **fields: Any) -> httpx.Response:
    headers = client.headers | fields.pop("headers", {})
    body = {"recipients": fresh(), "message": "Your order is on its way."} | fields
    url = f"{relay.base_url}/v1/notifications"
    return httpx.post(url, json=body, headers=headers, trust_env=False, timeout=60)


def test_a_template_is_sent_by_command(relay: RelayProcess, client: ClientKey, upstream: Upstream) -> None:
    number, key = fresh(), "01890a5d-ac96-774b-bcce-b302099a8057"
    arguments = ("send", "--to", number, "--template", "order_sent", "--value", "order=1204", "--json")
    old = run(relay, client, *arguments, "--idempotency-key", key)
    assert (old.returncode, "idempotency_key_expired" in old.stderr) == (1, True)
    assert number not in upstream.count()

    both = run(relay, client, *arguments, "--message", "x")
    assert (both.returncode, "--template" in both.stderr) == (2, True)
    assert json.loads(run(relay, client, *arguments).stdout)["status"] == "sent"
    assert upstream.count()[number] == 1


def test_a_scheduled_message_is_moved_and_goes_out_once(
    relay: RelayProcess, client: ClientKey, upstream: Upstream
) -> None:
    number, cancelled = fresh(), fresh()
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    prefer = {"Prefer": "respond-async"}
    body = ask(relay, client, recipients=number, send_at=tomorrow, headers=prefer).json()
    other = ask(relay, client, recipients=cancelled, send_at=tomorrow, headers=prefer).json()
    assert body["recipients"][0]["code"] == other["recipients"][0]["code"] == "scheduled"
    assert run(relay, client, "cancel", other["id"]).returncode == 0

    soon = (datetime.now(UTC) + timedelta(seconds=2)).isoformat()
    moved = run(relay, client, "move", body["id"], "--send-at", soon, "--json")
    assert json.loads(moved.stdout)["id"] == body["id"]
    url = f"{relay.base_url}/v1/notifications/{body['id']}"

    def completed_at() -> str | None:
        told: str | None = httpx.get(url, headers=client.headers, trust_env=False, timeout=60).json()["completed_at"]
        return told

    assert datetime.fromisoformat(str(wait_until(completed_at))) >= datetime.fromisoformat(soon)
    assert upstream.count()[number] == 1
    assert cancelled not in upstream.count()
    late = httpx.patch(
        f"{relay.base_url}/v1/notifications/{body['id']}",
        json={"send_at": tomorrow},
        headers=client.headers,
        trust_env=False,
        timeout=60,
    )
    assert (late.status_code, late.json()["code"]) == (409, "already_dialled")


def test_suppressed_numbers_of_a_file_get_nothing(
    relay: RelayProcess, client: ClientKey, upstream: Upstream, tmp_path: Path
) -> None:
    number, file = fresh(), tmp_path / "opted_out.csv"
    file.write_text(f"recipient,message_types,reason,until\n{number},,asked by phone,\n12,,typo,\n")
    imported = run(relay, client, "suppressions", "import", str(file), "--json")
    assert json.loads(imported.stdout) == {
        "entered": 1,
        "refused": [{"line": 3, "field": "recipient", "code": "too_short"}],
    }
    [kept] = json.loads(run(relay, client, "suppressions", "list", "--json").stdout)
    answer = ask(relay, client, recipients=number)

    assert (answer.status_code, answer.json()["status"]) == (200, "not_sent")
    assert answer.json()["recipients"][0]["code"] == "suppressed"
    assert number not in upstream.count()
    preview = run(relay, client, "preview", "--to", number, "--message", "Hi there", "--json")
    assert json.loads(preview.stdout)["recipients"][0]["reason"] == "suppressed"
    assert run(relay, client, "suppressions", "lift", kept["id"]).returncode == 0
    assert ask(relay, client, recipients=number).json()["status"] == "sent"


def test_a_repetition_without_a_key_gets_the_first_ones_answer(
    relay: RelayProcess, client: ClientKey, upstream: Upstream
) -> None:
    number = fresh()
    first = ask(relay, client, recipients=number)
    again = ask(relay, client, recipients=number)
    third = ask(relay, client, recipients=number, allow_repeat=True)

    assert again.headers["idempotency-replayed"] == "true"
    assert (again.json()["replayed"], again.json()["duplicate_of"]) == (True, first.json()["id"])
    assert third.json()["id"] != first.json()["id"]
    assert upstream.count()[number] == 2


def test_a_receiver_may_send_later_in_its_hours_and_the_same_words_once(
    relay: RelayProcess, client: ClientKey, upstream: Upstream
) -> None:
    def post(receiver: str, **body: Any) -> dict[str, Any]:
        url = f"{relay.base_url}/v1/webhooks/generic/{receiver}"
        answer = httpx.post(url, json={"text": "Door open"} | body, headers=client.headers, trust_env=False, timeout=60)
        assert answer.status_code == 202, answer.text
        [page] = answer.json()["notifications"]
        return dict(page)

    def code_of(page: dict[str, Any]) -> str:
        url = f"{relay.base_url}/v1/notifications/{page['id']}"
        found = httpx.get(url, headers=client.headers, trust_env=False, timeout=60).json()
        return str(found["recipients"][0]["code"])

    later, closed, twice = fresh(), fresh(), fresh()
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    assert code_of(post("calm", to=later, at=tomorrow, id=1)) == "scheduled"
    assert code_of(post("daytime", to=closed, id=2)) == "held_window"
    first, again = post("calm", to=twice, id=3), post("calm", to=twice, id=4)
    assert (first["duplicate"], again["duplicate"], again["id"]) == (False, True, first["id"])
    wait_until(lambda: twice in upstream.count())
    assert [upstream.count().get(number, 0) for number in (twice, later, closed)] == [1, 0, 0]


def test_the_rows_of_a_campaign_are_sent_when_their_columns_say(
    relay: RelayProcess, client: ClientKey, tmp_path: Path
) -> None:
    file, tomorrow = tmp_path / "customers.csv", (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0)
    file.write_text(f"number,when\n{fresh()},{tomorrow.isoformat()}\n")
    sent = run(relay, client, *("send", "--file", str(file), "--async", "-m", "Hello", "--send-at-column", "when"))
    assert (sent.returncode, "1 accepted, 0 refused" in sent.stdout) == (0, True), sent.stdout + sent.stderr

    accepted = json.loads(file.with_name("customers.csv.results").read_text().splitlines()[-1])
    url = f"{relay.base_url}/v1/notifications/{accepted['id']}"
    found = httpx.get(url, headers=client.headers, trust_env=False, timeout=60).json()
    assert datetime.fromisoformat(found["send_at"]) == tomorrow
