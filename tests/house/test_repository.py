"""What may be in the repository: the agreed top level, and nothing that tells where it was made."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

FOLDERS = {"relay", "tests", "openapi", "k8s"}
FILES = {
    "pyproject.toml",
    "README.md",
    "Dockerfile",
    "Makefile",
    "LICENSE",
    "CHANGELOG.md",
    "SECURITY.md",
    "CONTRIBUTING.md",
}


def tracked() -> list[str]:
    """The files that git tracks."""
    try:
        listing = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout: what is tracked cannot be told")
    return listing.splitlines()


def test_the_top_level_holds_only_what_was_agreed() -> None:
    top = {path.split("/")[0] for path in tracked()}
    strangers = {name for name in top if not name.startswith(".") and name not in FOLDERS | FILES}

    assert {name for name in strangers if not name.startswith("requirements")} == set()


def test_no_file_names_a_package_registry_or_a_path_of_somebodys_machine() -> None:
    forbidden = re.compile(
        # In pieces, so that this file does not hold what it looks for.
        r"index"
        r"-url|/sim"
        r"ple/|files\.python"
        r"hosted|pypi\."
        r"org|(?<![.\w-])/(?:work|root)/|/home/\w+/",
        re.ASCII,
    )
    hits = []
    for path in tracked():
        file = ROOT / path
        if path == str(Path(__file__).relative_to(ROOT)) or not file.is_file():
            continue
        text = file.read_bytes().decode("utf-8", "replace")
        hits += [f"{path}: {match.group()}" for match in forbidden.finditer(text)]

    assert hits == []


def test_every_dependency_is_pinned_with_hashes() -> None:
    for name in ("requirements.txt", "requirements-dev.txt", "requirements-otel.txt", "requirements-mutants.txt"):
        text = (ROOT / name).read_text()
        pins = re.findall(r"^[A-Za-z0-9_.\[\]-]+==\S+.*$", text, re.MULTILINE)

        assert pins
        assert all(pin.endswith("\\") for pin in pins)
        assert text.count("--hash=sha256:") >= len(pins)


def test_the_pins_of_traces_are_those_that_the_tests_run_with() -> None:
    def pins(name: str) -> set[str]:
        text = re.sub(r"^ *#.*\n", "", (ROOT / name).read_text(), flags=re.MULTILINE)
        return set(re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)) - {""}

    assert pins("requirements-otel.txt") <= pins("requirements-dev.txt")
    named = {pin.split("==")[0] for pin in pins("requirements-otel.txt") | pins("requirements.txt")}
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["otel"]
    assert {re.split(r"[<>=]", each)[0] for each in wanted} <= named
