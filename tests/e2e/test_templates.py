"""Templates in a running relay: sent by name, taken up when their file changes, and a bad file never in their place."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.commands import run_command
from support.relay import ClientKey, RelayProcess, make_client, make_relay, running_relay
from support.upstream import Upstream, running_upstream
from support.waiting import wait_until

pytestmark = pytest.mark.slow

_numbers = itertools.count(2348060000000)
GOOD = """
[[template]]
name = "order_sent"
[template.values]
order = 12
[template.text]
en = "Your order {{ order }} is on its way."
pcm = "Your order {{ order }} dey come."
"""
BAD = GOOD.replace("{{ order }} dey", "{{ ordr }} dey")


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with running_upstream() as running:
        yield running


@pytest.fixture
def client() -> ClientKey:
    return make_client(templates_only="true")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "templates.toml"
    path.write_text(GOOD)
    return path


def send(relay: RelayProcess, client: ClientKey, **fields: Any) -> httpx.Response:
    body = {"recipients": str(next(_numbers))} | fields
    url = f"{relay.base_url}/v1/notifications"
    return httpx.post(url, json=body, headers=client.headers, trust_env=False, timeout=60)


def template_state(relay: RelayProcess) -> tuple[int, str]:
    ready = httpx.get(f"{relay.base_url}/readyz", trust_env=False, timeout=60)
    return ready.status_code, ready.json()["template_files"]


def test_a_template_is_sent_reloaded_and_kept_where_the_new_file_is_bad(
    tmp_path: Path, upstream: Upstream, client: ClientKey, file: Path
) -> None:
    order = {"name": "order_sent", "values": {"order": "{{ 7 * 7 }}"}}
    with running_relay(
        tmp_path, client, upstream=upstream.base_url, toml=f"[templates]\nfiles = ['{file}']\n"
    ) as relay:
        assert send(relay, client, template=order).json()["status"] == "sent"
        refused = send(relay, client, message="Hello.")
        assert (refused.status_code, refused.json()["code"]) == (403, "template_required")

        file.write_text(BAD)
        wait_until(lambda: '"event":"reload.refused","what":"templates"' in relay.log())
        assert "templates.toml: template[0].text.pcm uses ordr, which is not declared (line 1)" in relay.log()
        assert (
            "relay_config_reload_success 0.0"
            in httpx.get(f"{relay.base_url}/metrics", trust_env=False, timeout=60).text
        )
        assert send(relay, client, template=order | {"language": "pcm"}).json()["status"] == "sent"
        assert template_state(relay) == (200, "bad_file")

        file.write_text(GOOD.replace("Your order", "Dear customer, order"))
        wait_until(lambda: '"event":"reload.finished","what":"templates"' in relay.log())
        assert send(relay, client, template=order).json()["status"] == "sent"
        assert (
            "relay_config_reload_success 1.0"
            in httpx.get(f"{relay.base_url}/metrics", trust_env=False, timeout=60).text
        )
        assert template_state(relay) == (200, "ok")
        listed = httpx.get(f"{relay.base_url}/v1/templates", headers=client.headers, trust_env=False, timeout=60).json()

    assert [request.query["message"] for request in upstream.sends] == [
        "Your order {{ 7 * 7 }} is on its way.",
        "Your order {{ 7 * 7 }} dey come.",
        "Dear customer, order {{ 7 * 7 }} is on its way.",
    ]
    assert [item["name"] for item in listed["items"]] == ["order_sent"]


def test_a_bad_file_stops_the_start_and_the_check_of_settings(
    tmp_path: Path, upstream: Upstream, client: ClientKey, file: Path
) -> None:
    file.write_text(BAD + "[[template]]\nname = 5\n")
    toml = f"[templates]\nfiles = ['{file}', '{tmp_path / 'none.toml'}']\n"
    relay = make_relay(tmp_path, client, upstream=upstream.base_url, toml=toml)
    relay.start(wait=False)

    assert relay.process.wait(60) == 2
    assert "template[1].name must be text" in relay.log()
    assert "none.toml: cannot be read" in relay.log()
    checked = run_command("check-config", environment=relay.environment)
    assert checked.returncode == 2
    assert "template[1].name must be text" in checked.stderr


def test_files_are_judged_by_command(file: Path) -> None:
    good = run_command("templates", "check", str(file))
    file.write_text(BAD)
    bad = run_command("templates", "check", str(file))

    assert good.returncode == 0
    assert good.stdout.split("\t") == [
        *("order_sent", "1", "transactional", "en, pcm", "order (12)", "1 segment at most, gsm-7\n")
    ]
    assert bad.returncode == 1
    assert "templates.toml: template[0].text.pcm uses ordr, which is not declared (line 1)" in bad.stderr


def test_what_a_template_comes_to_is_shown_by_command(file: Path) -> None:
    shown = run_command(
        "templates", "preview", "order_sent", "--file", str(file), "--value", "order={{ 1 }}", "--language", "pcm"
    )
    wrong = run_command(
        "templates", "preview", "order_sent", "--file", str(file), "--value", "order=\u20a61", "--value", "x=1"
    )

    assert (shown.returncode, shown.stdout) == (0, "Your order {{ 1 }} dey come.\n")
    assert "1 segment, 28 characters, gsm-7" in shown.stderr
    assert wrong.returncode == 1
    assert "template.values.order: Use characters of GSM-7" in wrong.stderr
    assert "1 value is not declared" in wrong.stderr
