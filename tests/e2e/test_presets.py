"""What senders with a preset post, to a real relay: the right SMS, once, and nobody else may send one."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from relay.settings.presets import list_presets
from support.relay import PASSWORD, USERNAME, ClientKey, RelayProcess, make_client, running_relay
from support.sandbox import running_sandbox
from support.senders import ON_CALL, PERSON, SECRET, SENDERS, STANDARD_SECRET, Headers, sign_standard

pytestmark = pytest.mark.slow

SIGNING = [name for name, sender in SENDERS.items() if sender.sign is not None]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[running_sandbox]:
    with running_sandbox(username=USERNAME, password=PASSWORD) as running:
        yield running


@pytest.fixture(scope="module")
def client() -> ClientKey:
    return make_client("apps")


@pytest.fixture(scope="module")
def relay(
    tmp_path_factory: pytest.TempPathFactory, sandbox: running_sandbox, client: ClientKey
) -> Iterator[RelayProcess]:
    toml = "\n".join(
        f'[[receivers]]\nname = "{name}"\nclient = "apps"\npreset = "{name}"\n{sender.settings}\n'
        for name, sender in SENDERS.items()
    )
    directory = tmp_path_factory.mktemp("relay")
    with running_relay(directory, client, upstream=sandbox.base_url, toml=toml) as running:
        yield running


@pytest.fixture(autouse=True)
def _empty_ledger(sandbox: running_sandbox) -> None:
    sandbox.clear()


def post(relay: RelayProcess, name: str, body: bytes, headers: Headers) -> httpx.Response:
    """Post as this sender does."""
    headers = {"Content-Type": "application/json", **SENDERS[name].headers, **headers}
    url = f"{relay.base_url}/v1/webhooks/generic/{name}"
    return httpx.post(url, content=body, headers=headers, timeout=60, trust_env=False)


@pytest.mark.parametrize("name", SENDERS)
def test_what_the_sender_posts_is_one_right_message_however_often_it_is_repeated(
    relay: RelayProcess, client: ClientKey, sandbox: running_sandbox, name: str
) -> None:
    sender = SENDERS[name]
    answers = [post(relay, name, sender.encoded, sender.credentials(client.key, sender.encoded)) for _ in range(3)]
    [sent] = sandbox.wait_for_sends(1)

    assert [answer.status_code for answer in answers] == [202, 202, 202]
    assert all(answer.headers["content-type"] == "application/json" for answer in answers)
    assert [answer.json()["notifications"][0]["duplicate"] for answer in answers] == [False, True, True]
    assert sent.message == sender.text
    assert sandbox.count() == dict.fromkeys(sender.recipients, 1)


@pytest.mark.parametrize("name", SENDERS)
def test_nobody_else_can_send(relay: RelayProcess, client: ClientKey, sandbox: running_sandbox, name: str) -> None:
    sender = SENDERS[name]
    good = sender.credentials(client.key, sender.encoded)
    wrong = [{}, dict.fromkeys(good, ""), {header: value[:-2] + "00" for header, value in good.items()}]
    if sender.sign is not None:
        wrong.append(sender.credentials(client.key, sender.encoded + b" "))
        wrong.append({"Authorization": f"Bearer {client.key}", **wrong[2]})
    for headers in wrong:
        answer = post(relay, name, sender.encoded, headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated"), headers

    assert sandbox.sends() == []


@pytest.mark.parametrize("name", ["supabase", "uptime-kuma", "zabbix"])
def test_a_key_opens_too_as_bearer_and_as_basic(relay: RelayProcess, client: ClientKey, name: str) -> None:
    url, body = f"{relay.base_url}/v1/webhooks/generic/{name}", SENDERS[name].encoded

    assert httpx.post(url, content=body, headers=client.headers, trust_env=False, timeout=60).status_code == 202
    assert httpx.post(url, content=body, auth=("anybody", client.key), trust_env=False, timeout=60).status_code == 202


def test_a_cloud_event_in_binary_mode_is_the_same_event_as_in_structured_mode(
    relay: RelayProcess, client: ClientKey, sandbox: running_sandbox
) -> None:
    event = SENDERS["cloudevents"].body | {"id": "B 1", "source": "/é"}
    attributes = {
        "ce-specversion": "1.0",
        "ce-type": event["type"],
        "ce-source": "/%C3%A9",
        "ce-id": "B%201",
        "Content-Type": "application/json",
    }
    binary = post(relay, "cloudevents", json.dumps(event["data"]).encode(), attributes | client.headers)
    structured = post(relay, "cloudevents", json.dumps(event).encode(), client.headers)
    [sent] = sandbox.wait_for_sends(1)

    assert sent.message == event["data"]["message"]
    assert binary.json()["notifications"][0]["duplicate"] is False
    assert structured.json()["notifications"][0]["duplicate"] is True


def test_another_code_for_the_same_person_is_another_message(relay: RelayProcess, sandbox: running_sandbox) -> None:
    for code in ("100001", "100002"):
        body = json.dumps(SENDERS["supabase"].body | {"sms": {"otp": code}}).encode()
        assert post(relay, "supabase", body, sign_standard(body)).status_code == 202

    assert sorted(entry.message for entry in sandbox.wait_for_sends(2)) == [
        "Your code is 100001.",
        "Your code is 100002.",
    ]


@pytest.mark.parametrize("name", SENDERS)
def test_a_person_can_see_that_address_and_key_are_right(relay: RelayProcess, client: ClientKey, name: str) -> None:
    url = f"{relay.base_url}/v1/webhooks/generic/{name}"
    shown = httpx.get(url, headers=client.headers, trust_env=False, timeout=60)
    said = shown.json()

    assert shown.status_code == 200
    assert (said["receiver"], said["preset"], said["client"]) == (name, name, "apps")
    assert said["fields"]["message"] == list_presets()[name].receiver["fields"]["message"]
    assert (said["kind"], said["signed"], said["problems"]) == ("generic", name in SIGNING, [])
    assert said["recipients"] in ([], ["23480•••••68"])
    for secret in (ON_CALL, PERSON, SECRET, STANDARD_SECRET, client.key):
        assert secret not in shown.text
    assert httpx.get(url, auth=("anybody", client.key), trust_env=False, timeout=60).status_code == 200
    assert httpx.get(url, trust_env=False, timeout=60).status_code == 401
    assert httpx.get(url + "x", headers=client.headers, trust_env=False, timeout=60).status_code == 404


def test_nothing_of_it_is_in_the_log(relay: RelayProcess, client: ClientKey) -> None:
    for name, sender in SENDERS.items():
        post(relay, name, sender.encoded, sender.credentials(client.key, sender.encoded))
        post(relay, name, sender.encoded, {})
        for secret in (PERSON, ON_CALL, SECRET, STANDARD_SECRET, client.key, sender.text, "561166", "0M53RF", "482913"):
            assert secret not in relay.log(), name


@pytest.mark.parametrize("name", list_presets())
def test_the_page_on_webhooks_says_what_to_enter(relay: RelayProcess, name: str) -> None:
    page = httpx.get(f"{relay.base_url}/docs/webhooks", trust_env=False, timeout=60)

    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert f'id="{name}"' in page.text
    assert list_presets()[name].title in page.text
    assert list_presets()[name].source in page.text


def test_the_body_of_argo_cds_template_is_one_right_message(
    relay: RelayProcess, client: ClientKey, sandbox: running_sandbox
) -> None:
    snippet = yaml.safe_load(list_presets()["argocd"].snippet)
    service = yaml.safe_load(snippet["service.webhook.relay"])
    template = yaml.safe_load(snippet["template.relay-status"])["webhook"]["relay"]["body"]
    sender = SENDERS["argocd"]

    def to_json(found: "re.Match[str]") -> str:
        value: Any = sender.body
        for name in found[1].split("."):
            value = value[name]
        return json.dumps(value)

    body = re.sub(r"\{\{toJson \.([\w.]+)\}\}", to_json, template)
    headers = {each["name"]: each["value"].replace("$relay-key", client.key) for each in service["headers"]}
    assert json.loads(body)["finishedAt"]
    assert post(relay, "argocd", body.replace("guestbook", "shop").encode(), headers).status_code == 202
    [sent] = sandbox.wait_for_sends(1)
    assert sent.message == sender.text.replace("guestbook", "shop")


def test_zabbixs_own_engine_runs_the_script_of_the_page(
    tmp_path: Path, relay: RelayProcess, client: ClientKey, sandbox: running_sandbox
) -> None:
    engine = shutil.which("zabbix_js")
    if engine is None:
        pytest.skip("zabbix_js is not installed (Debian: apt-get install zabbix-server-pgsql)")
    script = tmp_path / "script.js"
    script.write_text(list_presets()["zabbix"].snippet)

    def run(**changed: str) -> "subprocess.CompletedProcess[str]":
        parameters = {
            "URL": f"{relay.base_url}/v1/webhooks/generic/zabbix",
            "Key": client.key,
            **SENDERS["zabbix"].body,
            "EventID": "4712",
        }
        command = [engine, "-s", str(script), "-p", json.dumps(parameters | changed)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    done, again, refused = run(), run(), run(Key="rk_no_no")
    [sent] = sandbox.wait_for_sends(1)

    assert done.returncode == again.returncode == 0, done.stderr
    assert sent.message == SENDERS["zabbix"].text
    assert sandbox.count() == {PERSON: 1}
    assert "relay: 401" in refused.stdout + refused.stderr
