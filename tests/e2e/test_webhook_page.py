"""The page on webhooks says what works: its snippets are read by the programs that they are for."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from relay.settings import ReceiverSettings, load_settings
from relay.settings.presets import list_presets
from support.prometheus import find_binary

PAGE = (Path(__file__).parents[2] / "openapi" / "webhooks.md").read_text()


def snippets(language: str) -> list[str]:
    """The code of one language, in order."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_alertmanager_accepts_its_configuration(tmp_path: Path) -> None:
    amtool = find_binary("amtool")
    configuration = tmp_path / "alertmanager.yml"
    configuration.write_text(snippets("yaml")[0])
    done = subprocess.run([amtool, "check-config", configuration], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "max_alerts: 100" in snippets("yaml")[0]


def test_grafanas_contact_point_is_a_webhook_with_its_signature_beside_the_key() -> None:
    document: Any = yaml.safe_load(snippets("yaml")[1])
    [receiver] = document["contactPoints"][0]["receivers"]
    signed: Any = yaml.safe_load(snippets("yaml")[2])

    assert receiver["type"] == "webhook"
    assert receiver["settings"]["url"].endswith("/v1/webhooks/grafana/oncall")
    assert signed["hmacConfig"]["header"].lower() == "x-grafana-alerting-signature"
    assert signed["hmacConfig"]["timestampHeader"].lower() == "x-grafana-alerting-timestamp"


def test_the_receivers_are_settings(tmp_path: Path) -> None:
    found: list[ReceiverSettings] = []
    for number, text in enumerate(snippets("toml")):
        path = tmp_path / f"relay{number}.toml"
        path.write_text(text.replace('id = "…"', 'id = "a"').replace('sha256 = "…"', f'sha256 = "{"0" * 64}"'))
        found += load_settings({}, path).receivers
    oncall, auth = found

    assert oncall.recipients == ("08031234567", "08031234568")
    assert auth.fields["message"].startswith("join('', ['Your code at ACME")
    assert auth.fields["recipients"]


@pytest.mark.parametrize("preset", list_presets().values(), ids=list_presets())
def test_every_preset_is_named(preset: Any) -> None:
    assert preset.title in PAGE
