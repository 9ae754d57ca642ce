"""If it is written down, it runs: the README's blocks and tables, and the committed OpenAPI document."""

import json
import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from readme_tables import README, render
from relay.http.documents import openapi_document
from relay.settings import load_settings

ROOT = Path(__file__).parents[2]
TEXT = README.read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def test_the_tables_are_those_of_the_code() -> None:
    assert render(TEXT) == TEXT, "run: make readme"


def test_every_json_block_is_json() -> None:
    assert blocks("json")
    for block in blocks("json"):
        json.loads(block)


def test_every_toml_block_is_a_settings_file(tmp_path: Path) -> None:
    assert blocks("toml")
    for block in blocks("toml"):
        block = block.replace('id = "…"', 'id = "abc123"').replace('sha256 = "…"', f'sha256 = "{"0" * 64}"')
        tomllib.loads(block)
        path = tmp_path / "relay.toml"
        path.write_text(block)
        load_settings({}, path)


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert set(re.findall(r"\bmake ([a-z]+)\b", "\n".join(blocks("sh")))) <= targets


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#:]+)\)", TEXT))))
def test_every_link_into_the_repository_leads_somewhere(link: str) -> None:
    assert (ROOT / link).exists()


def test_the_committed_openapi_document_is_that_of_the_code() -> None:
    committed = json.loads((ROOT / "openapi" / "openapi.json").read_bytes())

    assert committed == msgspec.json.decode(msgspec.json.encode(openapi_document())), "run: make openapi"
