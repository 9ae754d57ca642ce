"""From start to stop, with all that may happen between: signals, locks, reloads, several replicas, a lost store."""

import http.client
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.commands import run_command
from support.oracle import Oracle, fresh_number
from support.relay import PATIENT, START_SECONDS, TEXT, ClientKey, look, make_client, make_relay, running_relay, send
from support.upstream import Upstream, running_upstream, send_all
from support.waiting import wait_until

pytestmark = pytest.mark.slow


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with running_upstream() as running:
        yield running


@pytest.fixture
def client() -> ClientKey:
    return make_client(permissions='["send", "read", "preview", "balance", "operate"]')


def test_sigterm_lets_what_is_out_finish_and_answers_its_caller(
    tmp_path: Path, upstream: Upstream, client: ClientKey
) -> None:
    relay = make_relay(tmp_path, client, upstream=upstream.base_url, environment=PATIENT)
    relay.start()
    upstream.gate.clear()
    number = fresh_number()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(send, relay, client, number)
        wait_until(lambda: upstream.count().get(number))
        relay.process.terminate()
        wait_until(lambda: httpx.get(f"{relay.base_url}/readyz", trust_env=False, timeout=60).status_code == 503)
        late = fresh_number()
        refused = send(relay, client, late)
        batch = httpx.post(
            f"{relay.base_url}/v1/notifications/batch",
            json=[{"recipients": [late], "message": TEXT}] * 2,
            headers=client.headers,
            trust_env=False,
            timeout=60,
        )
        upstream.gate.set()
        answer = waiting.result()

    assert (refused.status_code, refused.json()["code"], refused.json()["retry_safe"]) == (503, "draining", True)
    assert (batch.status_code, batch.headers["retry-after"]) == (503, "1")
    assert {item["problem"]["code"] for item in batch.json()["items"]} == {"draining"}
    assert answer.json()["status"] == "sent"
    assert relay.process.wait(START_SECONDS) == 0
    assert '"event":"process.drained","drained":1,"abandoned":0' in relay.log()
    relay.start()
    oracle = Oracle([relay], client, upstream.count, text=TEXT)
    for told in (refused, answer):
        oracle.note(told)
    assert oracle.check() == {number: ["sent"]}
    assert late not in upstream.count()
    relay.stop()


def test_a_client_that_hangs_up_changes_nothing(tmp_path: Path, upstream: Upstream, client: ClientKey) -> None:
    with running_relay(tmp_path, client, upstream=upstream.base_url) as relay:
        upstream.gate.clear()
        number = fresh_number()
        body = json.dumps({"recipients": [number], "message": "Hello", "reference": "hung-up"})
        caller = http.client.HTTPConnection("127.0.0.1", relay.port)
        caller.request("POST", "/v1/notifications", body, client.headers | {"Content-Type": "application/json"})
        wait_until(lambda: upstream.count().get(number))
        caller.close()
        upstream.gate.set()
        url = f"{relay.base_url}/v1/notifications?reference=hung-up"

        def found() -> list[dict[str, Any]]:
            items: list[dict[str, Any]] = httpx.get(url, headers=client.headers, trust_env=False, timeout=60).json()[
                "items"
            ]
            return items

        wait_until(lambda: found()[0]["status"] == "sent")
        assert upstream.count()[number] == 1


def test_where_too_many_wait_one_more_is_refused_at_once_and_a_batch_is_taken(
    tmp_path: Path, upstream: Upstream, client: ClientKey
) -> None:
    key = {"Idempotency-Key": "later"}
    few = "[sending]\nmax_waiting = 3\n"
    with running_relay(tmp_path, client, upstream=upstream.base_url, toml=few, environment=PATIENT) as relay:
        upstream.gate.clear()  # two places for anybody, and one that is kept for codes and alerts
        waiting, late = [fresh_number(), fresh_number()], fresh_number()
        with ThreadPoolExecutor(2) as pool:
            sends = [pool.submit(send, relay, client, number) for number in waiting]
            wait_until(lambda: all(upstream.count().get(number) for number in waiting))
            refused = send(relay, client, late, **key)
            queued = send(relay, client, fresh_number(), Prefer="respond-async")
            upstream.gate.set()
            answers = [each.result() for each in sends]
        again = send(relay, client, late, **key)

    assert (refused.status_code, refused.json()["code"], refused.json()["retry_safe"]) == (503, "overloaded", True)
    assert refused.headers["retry-after"] == "1"
    assert queued.status_code == 202
    assert [answer.json()["status"] for answer in (*answers, again)] == ["sent"] * 3
    assert upstream.count()[late] == 1


def test_a_second_process_on_one_sqlite_file_refuses_to_start(
    tmp_path: Path, upstream: Upstream, client: ClientKey
) -> None:
    journal = f"sqlite:///{tmp_path / 'shared.db'}"
    with running_relay(tmp_path / "first", client, upstream=upstream.base_url, journal=journal):
        second = make_relay(tmp_path / "second", client, upstream=upstream.base_url, journal=journal)
        second.start(wait=False)

        assert second.process.wait(START_SECONDS) == 2
        assert "locked" in second.log()
        assert "one SQLite file serves one process" in second.log()


def test_sqlite_refuses_to_start_when_told_of_several_replicas(
    tmp_path: Path, upstream: Upstream, client: ClientKey
) -> None:
    relay = make_relay(tmp_path, client, upstream=upstream.base_url, environment={"RELAY_JOURNAL_REPLICAS": "3"})
    relay.start(wait=False)

    assert relay.process.wait(START_SECONDS) == 2
    assert "RELAY_JOURNAL_REPLICAS must be 1 with SQLite" in relay.log()


def test_every_wrong_setting_is_told_at_once_with_its_place(
    tmp_path: Path, upstream: Upstream, client: ClientKey
) -> None:
    toml = "[smsclone]\ntimeout_seconds = -1\nmax_conections = 5\n[routes]\npromotional = 'dnd'\n"
    relay = make_relay(tmp_path, client, upstream=upstream.base_url, toml=toml)
    relay.start(wait=False)

    assert relay.process.wait(START_SECONDS) == 2
    for place in ("smsclone.timeout_seconds", "smsclone.max_conections", "routes.promotional"):
        assert place in relay.log()


def test_a_new_client_is_taken_up_without_a_restart_and_a_bad_file_keeps_the_old(
    tmp_path: Path, upstream: Upstream, client: ClientKey
) -> None:
    late = make_client("late")
    with running_relay(tmp_path, client, upstream=upstream.base_url) as relay:
        assert send(relay, late, fresh_number()).status_code == 401
        good = relay.config.read_text()
        relay.config.write_text(good + late.settings)
        wait_until(lambda: send(relay, late, fresh_number()).status_code == 200)
        relay.config.write_text("[[clients]]\nname = 1\n")
        wait_until(lambda: '"event":"reload.refused"' in relay.log())

        oracle = Oracle([relay], late, upstream.count, text=TEXT)
        assert oracle.note(send(relay, late, fresh_number())).status_code == 200
        oracle.check()
        metrics = httpx.get(f"{relay.base_url}/metrics", trust_env=False, timeout=60).text
        assert "relay_config_reload_success 0.0" in metrics


def test_sighup_in_the_middle_of_a_send_takes_up_the_settings_and_harms_nothing(
    tmp_path: Path, upstream: Upstream, client: ClientKey
) -> None:
    late = make_client("late")
    relay = make_relay(tmp_path, client, upstream=upstream.base_url, environment=PATIENT)
    relay.start()
    upstream.gate.clear()
    number = fresh_number()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(send, relay, client, number)
        wait_until(lambda: upstream.count().get(number))
        for reloads in (1, 2):  # also where nothing changed since
            relay.process.send_signal(signal.SIGHUP)
            wait_until(lambda: relay.log().count('"event":"reload.finished"') >= reloads)  # noqa: B023
        relay.config.write_text(relay.config.read_text() + late.settings)
        relay.process.send_signal(signal.SIGHUP)
        wait_until(lambda: relay.log().count('"event":"reload.finished"') >= 3)
        upstream.gate.set()
        answer = waiting.result()

    assert answer.json()["status"] == "sent"
    assert upstream.count()[number] == 1
    assert send(relay, late, fresh_number()).status_code == 200
    relay.config.write_text("[[clients]]\nname = 1\n")
    relay.process.send_signal(signal.SIGHUP)
    wait_until(lambda: '"event":"reload.refused"' in relay.log())
    assert send(relay, late, fresh_number()).status_code == 200
    relay.process.terminate()
    relay.process.send_signal(signal.SIGHUP)
    assert relay.process.wait(START_SECONDS) == 0


def test_sighup_while_it_starts_does_not_kill(tmp_path: Path, upstream: Upstream, client: ClientKey) -> None:
    relay = make_relay(tmp_path, client, upstream=upstream.base_url)
    relay.start(wait=False)
    held = 1 << (signal.SIGHUP - 1)
    masks = Path(f"/proc/{relay.process.pid}/status")
    wait_until(lambda: int(masks.read_text().split("SigBlk:")[1].split()[0], 16) & held)
    relay.process.send_signal(signal.SIGHUP)
    relay.wait_ready()
    wait_until(lambda: '"event":"reload.finished"' in relay.log())

    assert send(relay, client, fresh_number()).json()["status"] == "sent"
    assert relay.stop() == 0


@pytest.mark.parametrize("closed", [">&-", "<&- >&- 2>&-"])
def test_it_serves_with_standard_streams_closed(
    tmp_path: Path, upstream: Upstream, client: ClientKey, closed: str
) -> None:
    relay = make_relay(tmp_path, client, upstream=upstream.base_url)
    relay.start(wait=False, redirections=closed)
    relay.wait_ready()

    assert send(relay, client, fresh_number()).json()["status"] == "sent"
    for descriptor in (0, 1, 2):  # neither the journal nor a socket may get what is printed
        stands_for = Path(f"/proc/{relay.process.pid}/fd/{descriptor}").readlink()
        assert stands_for in (Path("/dev/null"), relay.output)
    assert relay.stop() == 0


def test_a_server_loads_nothing_of_the_command_line(tmp_path: Path, upstream: Upstream, client: ClientKey) -> None:
    environment = {"PYTHONPROFILEIMPORTTIME": "1"}
    with running_relay(tmp_path, client, upstream=upstream.base_url, environment=environment) as relay:
        loaded = {
            line.rpartition("|")[2].strip() for line in relay.log().splitlines() if line.startswith("import time:")
        }
    assert {"relay.app.serving", "structlog", "httpx"} <= loaded
    assert not {"relay.cli", "cyclopts", "rich.console", "pygments.lexers", "click.core", "alembic"} & loaded


def test_commands_run_with_standard_streams_closed() -> None:
    program = f"exec {sys.executable} -m relay keys new"
    for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
        ended = subprocess.run(["/bin/sh", "-c", f"{program} {closed}"], capture_output=True, check=False)
        assert (ended.returncode, ended.stderr) == (0, b"")


def test_after_a_kill_what_was_out_is_unknown_and_what_was_queued_is_sent(
    tmp_path: Path, upstream: Upstream, client: ClientKey
) -> None:
    one_at_a_time = "[smsclone]\nmax_connections = 1\n"
    relay = make_relay(tmp_path, client, upstream=upstream.base_url, toml=one_at_a_time)
    relay.start()
    upstream.gate.clear()
    out, behind, key = fresh_number(), fresh_number(), {"Idempotency-Key": "out"}

    def send_and_lose() -> None:
        with pytest.raises(httpx.TransportError):
            send(relay, client, out, **key)

    thread = threading.Thread(target=send_and_lose)
    thread.start()
    wait_until(lambda: upstream.count().get(out))
    queued = send(relay, client, behind, Prefer="respond-async")
    relay.kill()
    thread.join()
    upstream.gate.set()
    relay.start()
    again = send(relay, client, out, **key)

    assert again.json()["replayed"] is True
    assert [(r["status"], r["code"]) for r in again.json()["recipients"]] == [("unknown", "interrupted")]
    oracle = Oracle([relay], client, upstream.count, text=TEXT)
    for told in (queued, again):
        oracle.note(told)
    assert oracle.check() == {out: ["unknown"], behind: ["sent"]}
    assert upstream.count() == {out: 1, behind: 1}
    relay.stop()


def test_pause_stops_sending_and_resume_starts_it(tmp_path: Path, upstream: Upstream, client: ClientKey) -> None:
    with running_relay(tmp_path, client, upstream=upstream.base_url) as relay:
        operator = httpx.Client(base_url=relay.base_url, headers=client.headers, trust_env=False, timeout=60)
        operator.post("/v1/operator/pause", json={"reason": "a test"})
        number = fresh_number()
        refused = send(relay, client, number)
        queued = send(relay, client, number, Prefer="respond-async")

        assert refused.json()["code"] == "paused"
        assert queued.status_code == 202
        assert number not in upstream.count()
        operator.post("/v1/operator/resume")
        wait_until(lambda: upstream.count().get(number) == 1)
        operator.close()


def test_the_operator_settles_what_nobody_knows(tmp_path: Path, upstream: Upstream, client: ClientKey) -> None:
    with running_relay(tmp_path, client, upstream=upstream.base_url) as relay:
        operator = httpx.Client(base_url=relay.base_url, headers=client.headers, trust_env=False, timeout=60)
        upstream.answer = lambda _: None
        number = fresh_number()
        sent = send(relay, client, number).json()
        again = send(relay, client, fresh_number()).json()
        upstream.answer = send_all
        listed = [item["id"] for item in operator.get("/v1/operator/unknown").json()["items"]]
        resolved = operator.post(
            f"/v1/operator/unknown/{sent['id']}/resolve", json={"outcome": "sent", "reason": "seen"}
        ).json()
        other_text = operator.post(f"/v1/operator/unknown/{again['id']}/resend", json={"message": "Another text"})
        resent = operator.post(f"/v1/operator/unknown/{again['id']}/resend", json={"message": TEXT})

        assert sent["status"] == again["status"] == "unknown"
        assert set(listed) == {sent["id"], again["id"]}
        assert resolved["recipients"][0]["status"] == "sent"
        assert resolved["recipients"][0]["resolved_by"] == "operator"
        assert other_text.status_code == 422
        assert resent.status_code == 202
        wait_until(lambda: look(relay, client, resent.json()["id"])["status"] == "sent")
        assert upstream.count()[number] == 1
        operator.close()


def test_check_config_says_how_many_clients_there_are(tmp_path: Path, upstream: Upstream, client: ClientKey) -> None:
    relay = make_relay(tmp_path, client, upstream=upstream.base_url)
    told = run_command("check-config", environment=relay.environment)

    assert (told.returncode, "1 client" in told.stdout) == (0, True)


def test_it_listens_on_localhost_by_name(tmp_path: Path, upstream: Upstream, client: ClientKey) -> None:
    with running_relay(
        tmp_path, client, upstream=upstream.base_url, environment={"RELAY_LISTEN_HOST": "localhost"}
    ) as relay:
        assert send(relay, client, fresh_number()).status_code == 200
