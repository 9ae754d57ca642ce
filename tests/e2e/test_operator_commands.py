"""The operator at a shell, at night: what is unknown, settling it, stopping everything, forgetting a number."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from support.commands import BARE, Done, run_command, run_process
from support.relay import ClientKey, RelayProcess, make_client, running_relay
from support.terminal import at_terminal
from support.upstream import Upstream, running_upstream, send_all
from support.waiting import PATIENCE_SECONDS, wait_until

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
TEXT = "Your order is on its way."
OPEN = ("queued", "in_progress")


class Operator:
    """A person with a key that has every permission, before a relay whose upstream this test runs."""

    def __init__(self, relay: RelayProcess, client: ClientKey, upstream: Upstream) -> None:
        self._relay = relay
        self.upstream = upstream
        self.environment = BARE | {"RELAY_CLIENT_URL": relay.base_url, "RELAY_CLIENT_KEY": client.key}
        self.http = httpx.Client(base_url=relay.base_url, headers=client.headers, trust_env=False, timeout=60)

    def run(self, *words: str, typed: str = "") -> tuple[int, str, str]:
        """Run ``relay`` with these words; status, output, errors."""
        done = run_command(*words, typed=typed, environment=self.environment)
        return done.returncode, done.stdout, done.stderr

    def lose_an_answer(self, *recipients: str) -> str:
        """Send to these numbers and drop the connection in place of an answer; the notification's id."""
        self.upstream.answer = lambda _: None
        try:
            reply = self.http.post("/v1/notifications", json={"recipients": recipients, "message": TEXT})
        finally:
            self.upstream.answer = send_all
        body = reply.json()
        assert {entry["status"] for entry in body["recipients"]} == {"unknown"}
        return str(body["id"])

    def status_of(self, notification_id: str) -> dict[str, str]:
        """The status of each recipient, by number."""
        body = self.http.get(f"/v1/notifications/{notification_id}").json()
        return {entry["recipient"]: entry["status"] for entry in body["recipients"]}


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    client = make_client(permissions='["send", "read", "preview", "balance", "operate"]')
    with (
        running_upstream() as upstream,
        running_relay(
            tmp_path_factory.mktemp("relay"), client, upstream=upstream.base_url, toml="[breaker]\nfailures = 1000\n"
        ) as relay,
    ):
        operator = Operator(relay, client, upstream)
        with operator.http:
            yield operator


def test_unknown_list_shows_what_is_unknown_with_the_reason(operator: Operator) -> None:
    lost = operator.lose_an_answer("2348030001001", "2348030001002")

    status, told, _ = operator.run("unknown", "list", "--limit", "5")

    row = next(line for line in told.splitlines() if lost in line).split("\t")
    assert status == 0
    assert (row[0], row[1], row[3], row[4], len(row)) == (lost, "billing", "2", "no_answer", 6)
    assert "234803000" not in told


def test_every_id_of_unknown_list_is_whole_in_a_pipe_and_at_a_narrow_terminal(operator: Operator) -> None:
    lost = operator.lose_an_answer("2348030001003")

    piped = [line.split("\t")[0] for line in operator.run("unknown", "list")[1].splitlines()]
    shown = at_terminal(operator.environment, 80, "unknown", "list")

    assert lost in piped
    assert all(len(each) == 36 for each in piped)
    assert [each for each in piped if each not in shown] == []
    times = [item["created_at"] for item in json.loads(operator.run("unknown", "list", "--json")[1])]
    assert [each for each in times if f"created {each}" not in shown] == []
    assert max(map(len, shown.splitlines())) <= 80
    assert operator.run("unknown", "resolve", piped[0], "--sent", "--reason", "seen", "--json")[0] == 0


def test_unknown_list_goes_through_all_pages_or_stops_where_it_is_told(operator: Operator) -> None:
    numbers = [f"23480311{n:05}" for n in range(210)]
    operator.upstream.answer = lambda _: None
    try:
        items = [{"recipients": [number], "message": TEXT} for number in numbers]
        accepted = operator.http.post("/v1/notifications/batch", json=items).json()["items"]
        for status in OPEN:
            wait_until(lambda: not operator.http.get(f"/v1/notifications?status={status}").json()["items"])  # noqa: B023
    finally:
        operator.upstream.answer = send_all

    listed = json.loads(operator.run("unknown", "list", "--json")[1])
    assert {item["id"] for item in accepted} <= {item["id"] for item in listed}
    assert len(operator.run("unknown", "list")[1].splitlines()) == len(listed)
    assert len(operator.run("unknown", "list", "--limit", "205")[1].splitlines()) == 205
    assert operator.run("unknown", "list", "--limit", "0")[0] == 2


def test_what_was_delivered_is_settled_as_sent_for_the_recipients_that_are_named(operator: Operator) -> None:
    lost = operator.lose_an_answer("2348030001011", "2348030001012")

    status, told, _ = operator.run("unknown", "resolve", lost, "--sent", "--reason", "seen", "--to", "2348030001011")

    assert (status, told.strip()) == (0, f"{lost} is partial now")
    assert operator.status_of(lost) == {"2348030001011": "sent", "2348030001012": "unknown"}


def test_what_was_not_delivered_is_settled_as_not_sent(operator: Operator) -> None:
    lost = operator.lose_an_answer("2348030001021")

    status, told, _ = operator.run("unknown", "resolve", lost, "--not-sent", "--reason", "seen")

    assert (status, told.strip()) == (0, f"{lost} is not_sent now")
    assert operator.upstream.count()["2348030001021"] == 1


def test_a_resend_takes_the_text_from_standard_input_and_sends_it_once_more(operator: Operator) -> None:
    lost = operator.lose_an_answer("2348030001031")

    refused, _, complaint = operator.run("unknown", "resolve", lost, "--resend", typed="Another text\n")
    status, told, _ = operator.run("unknown", "resolve", lost, "--resend", typed=f"{TEXT}\n")

    assert refused == 1
    assert len(complaint.strip().splitlines()) == 1
    assert status == 0
    assert told.startswith("queued as ")
    assert lost not in told
    while operator.upstream.count()["2348030001031"] < 2:
        assert operator.upstream.arrived.acquire(timeout=PATIENCE_SECONDS), "the second one never arrived"
    assert operator.upstream.sends[-1].query["message"] == TEXT


@pytest.mark.parametrize("verdicts", [[], ["--sent", "--resend"], ["--sent", "--not-sent"]])
def test_settling_needs_exactly_one_verdict(operator: Operator, verdicts: list[str]) -> None:
    status, _, complaint = operator.run("unknown", "resolve", "0192f3c4-0000-7000-8000-000000000000", *verdicts)

    assert status == 2
    expected = "is sent again at a time" if "--resend" in verdicts else "--sent, --not-sent or --resend"
    assert expected in complaint


def test_a_notification_that_is_not_there_is_one_line(operator: Operator) -> None:
    status, _, complaint = operator.run(
        "unknown", "resolve", "0192f3c4-0000-7000-8000-000000000000", "--sent", "--reason", "seen"
    )

    assert status == 1
    assert complaint.startswith("relay: not_found")
    assert len(complaint.strip().splitlines()) == 1


def test_a_pause_of_an_account_that_is_none_stops_nothing_and_says_so(operator: Operator) -> None:
    for command in ("pause", "resume"):
        reason = ("--reason", "it hangs") if command == "pause" else ()
        for name, said in (("--account", "no account of this name"), ("--client", "no client of this name")):
            status, _, complaint = operator.run(command, name, "bakcup", *reason)
            assert (status != 0, said in complaint, "bakcup" in complaint) == (True, True, False), complaint
    assert operator.http.get("/readyz").json()["pauses"] == []


def test_pause_stops_sending_and_resume_starts_it_again(operator: Operator) -> None:
    paused, told, _ = operator.run("pause", "--reason", "smsclone hangs")
    assert (paused, "relay resume" in told) == (0, True)

    held, _, complaint = operator.run("send", "--to", "08030001041", "--message", TEXT)
    queued, waiting, _ = operator.run("send", "--to", "08030001042", "--message", TEXT, "--async")
    assert (held, "paused" in complaint) == (1, True)
    assert (queued, waiting.split()[0]) == (0, "queued")
    assert "2348030001042" not in operator.upstream.count()

    resumed, told, _ = operator.run("resume")
    assert (resumed, told.strip()) == (0, "sending again")
    while "2348030001042" not in operator.upstream.count():
        assert operator.upstream.arrived.acquire(timeout=PATIENCE_SECONDS), "what waited was never sent"
    assert "2348030001041" not in operator.upstream.count()


def test_a_number_is_forgotten_on_request(operator: Operator) -> None:
    assert operator.run("send", "--to", "08030001051", "--message", TEXT)[0] == 0

    status, told, _ = operator.run("erase", "--recipient", "0803 000 1051")

    assert (status, told.strip()) == (0, "erased from 1 notification")
    assert operator.run("erase", "--recipient", "08030001051")[1].strip() == "erased from 0 notifications"


def test_a_key_without_the_permission_is_told_which_one_it_lacks(operator: Operator, tmp_path: Path) -> None:
    plain = make_client(name="orders")
    with running_relay(tmp_path, plain, upstream=operator.upstream.base_url) as relay:
        told = run_command("pause", "--reason", "a test", "--url", relay.base_url, "--key", plain.key)

    assert told.returncode == 1
    assert "operate" in told.stderr
    assert plain.key not in told.stderr


def test_the_demo_goes_as_told_and_ends_by_itself(tmp_path: Path) -> None:
    told = run_process("demo", env=BARE | {"COLUMNS": "120", "TMPDIR": str(tmp_path)})

    assert told.returncode == 0, told.stdout + told.stderr
    for code in ("sent_dnd", "dnd_rejected", "blocked_words", "invalid_number", "replayed: True", "no_answer"):
        assert code in told.stdout
    assert "did not go as told" not in told.stdout
    [story] = re.findall(r"```text\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    for scene in story.split("\n\n"):
        assert " ".join(scene.split()) in " ".join(told.stdout.split()), "README.md shows another demo"
    assert list(tmp_path.iterdir()) == []


def test_preview_shows_the_sms_that_a_receiver_would_make_of_an_alert(tmp_path: Path) -> None:
    config, body = tmp_path / "relay.toml", tmp_path / "alert.json"
    config.write_text(
        make_client(name="monitoring").settings
        + '\n[[receivers]]\nname = "oncall"\nclient = "monitoring"\nrecipients = ["2348012345678"]\n'
    )
    alert = {"status": "firing", "labels": {"alertname": "DiskFull"}, "startsAt": "2026-12-01T09:00:00Z"}
    body.write_text(
        json.dumps({"version": "4", "groupKey": "{}", "status": "firing", "receiver": "oncall", "alerts": [alert]})
    )
    broken = tmp_path / "broken.json"
    broken.write_text("{")

    def preview(file: Path, *words: str) -> Done:
        words = ("preview", "--alertmanager", str(file), *words)
        return run_command(*words, environment={"RELAY_CONFIG": str(config)})

    shown = preview(body, "--receiver", "oncall")
    assert (shown.returncode, "DiskFull" in shown.stdout) == (0, True), shown.stderr
    other = preview(body, "--receiver", "nobody")
    assert (other.returncode, "the settings have: oncall" in other.stderr) == (2, True)
    missing = preview(tmp_path / "none.json", "--receiver", "oncall")
    assert (missing.returncode, "--alertmanager" in missing.stderr) == (2, True)
    bad = preview(broken, "--receiver", "oncall")
    assert (bad.returncode, len(bad.stderr.strip().splitlines())) == (1, 1)
    config.write_text("[listen]\nport = -1\n")
    assert "relay check-config" in preview(body, "--receiver", "oncall").stderr
