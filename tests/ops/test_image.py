"""The image, as far as it can be judged without a Docker engine."""

import json
import re

import pytest
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

import relay
from relay.settings import load_settings
from support.kubernetes_kit import ROOT, find_script, run
from tools.sbom import make_bom, read_pins

DOCKERFILE = (ROOT / "Dockerfile").read_text()
LAST_STAGE = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]


def test_hadolint_finds_nothing() -> None:
    assert run(find_script("hadolint"), "--failure-threshold", "style", ROOT / "Dockerfile").strip() == ""


def test_what_runs_is_not_root_and_kubernetes_can_see_it() -> None:
    assert re.search(r"^USER 10001:10001$", LAST_STAGE, re.MULTILINE)


def test_signals_reach_the_process() -> None:
    assert 'ENTRYPOINT ["relay"]' in LAST_STAGE
    assert 'CMD ["serve"]' in LAST_STAGE


def test_kubernetes_has_probes_so_the_image_has_none() -> None:
    assert not re.search(r"^\s*HEALTHCHECK", DOCKERFILE, re.MULTILINE)


def test_dependencies_come_by_hash_and_never_from_source() -> None:
    assert re.search(r"install --require-hashes --only-binary=:all:", DOCKERFILE)
    assert "--no-build-isolation --no-deps" in DOCKERFILE


def test_the_last_stage_takes_the_environment_and_leaves_the_tools() -> None:
    assert re.findall(r"^COPY (.*)$", LAST_STAGE, re.MULTILINE) == ["--from=build /opt/relay /opt/relay"]
    assert "uninstall --yes flit-core" in DOCKERFILE
    assert re.search(r"pip uninstall .*\bpip\b", LAST_STAGE)


def test_the_image_is_labelled_with_the_version_of_the_package() -> None:
    assert f"ARG VERSION={relay.__version__}\n" in LAST_STAGE


def test_the_relay_takes_the_variables_of_the_image() -> None:
    variables = dict(re.findall(r"(RELAY_\w+)=(\S+)", LAST_STAGE))
    settings = load_settings(variables)
    assert settings.listen.host == "0.0.0.0"
    assert settings.journal.url.reveal() == "sqlite:////var/lib/relay/relay.db"


def test_nothing_but_what_the_image_is_made_of_goes_to_the_builder() -> None:
    patterns = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert patterns[0] == "*"
    copied = {part for line in re.findall(r"^COPY ([^-].*)$", DOCKERFILE, re.MULTILINE) for part in line.split()[:-1]}
    assert {pattern[1:] for pattern in patterns if pattern.startswith("!")} == copied


def test_the_bill_of_materials_is_valid_names_every_pin_and_comes_out_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1764590400")
    document = JsonV1Dot6(make_bom("requirements.txt")).output_as_string()
    described = json.loads(document)

    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(document) is None
    assert {(each["name"], each["version"]) for each in described["components"]} == set(
        read_pins("requirements.txt").items()
    )
    assert all(each["purl"].startswith("pkg:pypi/") for each in described["components"])
    named = {each["name"] for each in described["components"] if each.get("licenses")}
    assert {"litestar", "msgspec", "psycopg"} <= named
    [ours] = [each for each in described["dependencies"] if each["ref"] == "relay"]
    assert any("litestar" in each for each in ours["dependsOn"])
    assert JsonV1Dot6(make_bom("requirements.txt")).output_as_string() == document


def test_the_image_that_can_trace_has_a_bill_of_its_own() -> None:
    assert set(read_pins("requirements.txt")) < set(read_pins("requirements.txt", "requirements-otel.txt"))
