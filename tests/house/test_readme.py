"""If it is written down, it is true: blocks, tables, links, names and commands of every page; the OpenAPI document."""

import json
import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from relay.app.routes import openapi_document
from relay.cli import app
from relay.domain.words import WordMatcher
from relay.settings import describe_settings, load_settings
from relay.template_files import read_templates
from tools.readme_tables import TABLES, render

ROOT = Path(__file__).parents[2]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in sorted(
        [
            *ROOT.glob("*.md"),
            *(page for folder in ("openapi", "k8s", "tests") for page in (ROOT / folder).rglob("*.md")),
        ]
    )
}
every_page = pytest.mark.parametrize("page", PAGES)


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^ *```{language}\n(.*?)^ *```$", PAGES[page], re.DOTALL | re.MULTILINE)


def code(page: str) -> str:
    """What a page shows as code: spans, and blocks of a shell."""
    text = PAGES[page]
    spans = re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    return "\n".join(
        [
            *(" ".join(span.split()) for span in spans),
            *(block for language in ("sh", "bash") for block in blocks(page, language)),
        ]
    )


def anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_readme_is_a_front_door() -> None:
    assert len(PAGES["README.md"].splitlines()) <= 300


@pytest.mark.parametrize("page", TABLES)
def test_the_tables_are_those_of_the_code(page: str) -> None:
    assert render(page) == PAGES[page], "run: make readme"


@every_page
def test_every_json_block_is_json(page: str) -> None:
    for block in blocks(page, "json"):
        json.loads(block)


@every_page
def test_every_toml_block_is_a_file_of_settings_or_templates(page: str, tmp_path: Path) -> None:
    for block in blocks(page, "toml"):
        if block.lstrip().startswith("[[template]]"):
            (tmp_path / "templates.toml").write_text(block)
            read_templates([tmp_path / "templates.toml"], WordMatcher(()))
            continue
        block = block.replace('id = "…"', 'id = "abc123"').replace('sha256 = "…"', f'sha256 = "{"0" * 64}"')
        tomllib.loads(block)
        path = tmp_path / "relay.toml"
        path.write_text(block)
        load_settings({}, path)


@every_page
def test_every_make_target_that_is_named_exists(page: str) -> None:
    targets = set(re.findall(r"^([a-z0-9/_.-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert set(re.findall(r"^(?:\$ )?make ([a-z][a-z0-9/_.-]*)", code(page), re.MULTILINE)) <= targets


@every_page
def test_every_command_that_is_named_exists(page: str) -> None:
    named = re.findall(
        r"(?:^|[;&|] |-- )(?:\.venv/bin/)?relay ([a-z][a-z-]*)(?: ([a-z][a-z-]*))?", code(page), re.MULTILINE
    )
    commands = {name for name in app if not name.startswith("-")}

    assert {command for command, _ in named} <= commands
    for command, below in named:
        groups = {name for name in app[command] if not name.startswith("-")}
        assert not groups or not below or below in groups, f"relay {command} {below}"


@every_page
def test_every_link_leads_somewhere(page: str) -> None:
    for target, anchor in re.findall(r"\]\(([^)#:\s]*)(?:#([^)\s]+))?\)", PAGES[page]):
        path = (ROOT / page).parent / target if target else ROOT / page
        assert path.exists(), target
        assert not anchor or anchor in anchors(path.read_text()), f"{target}#{anchor}"


@every_page
def test_every_file_that_is_named_exists(page: str) -> None:
    for name in re.findall(r"(?<![\w/.])(?:relay|tests|k8s|openapi)/[\w./*-]+", code(page)):
        assert "ours" in name or list(ROOT.glob(name.rstrip("/."))), name


def test_every_log_event_that_an_operator_is_told_to_look_for_exists() -> None:
    source = "\n".join(path.read_text() for path in (ROOT / "relay").rglob("*.py"))
    sections = {setting.path.split(".")[0] for setting in describe_settings()}
    for page in ("k8s/README.md", "k8s/runbook.md"):
        spans = re.findall(r"`([a-z]+)\.([a-z_]+)`", PAGES[page])
        events = {
            f"{noun}.{verb}" for noun, verb in spans if noun not in sections and verb not in ("toml", "md", "yaml")
        }
        assert events
        for event in events:
            assert f'"{event}"' in source, f"{page}: {event}"


def test_every_file_that_lint_excuses_exists() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]

    for pattern in settings["per-file-ignores"]:
        assert list(ROOT.glob(pattern)), pattern


def test_the_committed_openapi_document_is_that_of_the_code() -> None:
    committed = json.loads((ROOT / "openapi" / "openapi.json").read_bytes())

    assert committed == msgspec.json.decode(msgspec.json.encode(openapi_document())), "run: make openapi"
