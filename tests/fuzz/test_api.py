"""The committed API description held against a live relay by schemathesis: every status and body is as described.

RELAY_TEST_EXAMPLES=400 python -m pytest -rP tests/fuzz/test_api.py    with how many cases there were
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.relay import make_client, running_relay
from support.upstream import running_upstream
from support.waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.slow

DOCUMENT = Path(__file__).parents[2] / "openapi/openapi.json"
EXAMPLES = os.environ.get("RELAY_TEST_EXAMPLES", "15")
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
RECEIVER = """
[[receivers]]
name = "oncall"
client = "billing"
sender = "ACME"
recipients = ["2348012345678"]
message_type = "alert"
"""


def test_whatever_is_asked_is_answered_as_the_description_says(tmp_path: Path) -> None:
    client = make_client(sandbox="true", permissions='["send", "read", "preview", "balance", "operate"]')
    with (
        running_upstream() as upstream,
        running_relay(tmp_path, client, upstream=upstream.base_url, toml=RECEIVER) as relay,
    ):
        done = subprocess.run(
            [
                str(Path(sys.executable).with_name("schemathesis")),
                "run",
                str(DOCUMENT),
                f"--url={relay.base_url}",
                f"--header=Authorization: Bearer {client.key}",
                f"--max-examples={EXAMPLES}",
                f"--checks={','.join(CHECKS)}",
                "--phases=coverage,fuzzing",
                "--generation-deterministic",
                f"--request-timeout={PATIENCE_SECONDS}",
                "--suppress-health-check=all",
                "--no-color",
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

        assert done.returncode == 0, done.stdout
        print(*[line for line in done.stdout.splitlines() if "passed" in line or "Tested:" in line], sep="\n")
        operations = sum(len(methods) for methods in json.loads(DOCUMENT.read_bytes())["paths"].values())
        assert f"Tested: {operations}" in done.stdout
        assert '"event":"task.failed"' not in relay.log()
        assert upstream.sends == []  # a sandbox client's
