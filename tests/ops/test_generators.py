"""What the usual generators make of the OpenAPI document compiles, with their defaults.

    RELAY_TEST_GENERATORS=1 python -m pytest tests/ops/test_generators.py        (make ops)

They come from npm and from the Python package that carries openapi-generator's jar; where one cannot be had, its test
is skipped and says so.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("RELAY_TEST_GENERATORS" not in os.environ, reason="it fetches programs: make ops runs it"),
]

DOCUMENT = Path(__file__).parents[2] / "openapi/openapi.json"
NPM = ("openapi-typescript@7.13.0", "typescript@5.9.3", "@redocly/cli@2.77.0")
GENERATOR = "openapi-generator-cli==7.26.0"
GENERATOR_SHA256 = "e6305fbbf91aa41b3b7fcd8bf2124880ab0bb9e32efad95b3dfe71f9313d856c"

CALLER = """
import type { components, webhooks } from "./api";

type Schemas = components["schemas"];
const request: Schemas["NotificationRequest"] = { recipients: "08012345678", message: "Hello." };
const status: Schemas["Status"] = "sent";
type Event = webhooks["notification.completed"]["post"]["requestBody"]["content"]["application/json"];
export const read = (event: Event): string => `${event.type} ${event.data.id} ${request.message} ${status}`;
"""
"""A caller in TypeScript: what has a default may be left out, an enum has a name, callbacks have a type."""


@pytest.fixture(scope="module")
def npm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder in which the programs from npm are."""
    directory = tmp_path_factory.mktemp("npm")
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    install = ["npm", "install", "--prefix", str(directory), "--no-audit", "--no-fund", "--ignore-scripts", *NPM]
    done = subprocess.run(install, capture_output=True, text=True, check=False, cwd=directory)
    if done.returncode != 0:
        pytest.skip("npm finds no registry to install openapi-typescript and redocly from")
    yield directory / "node_modules/.bin"
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command of openapi-generator."""
    if shutil.which("java") is None:
        pytest.skip("java is not installed")
    directory = tmp_path_factory.mktemp("generator")
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(directory), GENERATOR]
    done = subprocess.run(download, capture_output=True, text=True, check=False)
    wheels = list(directory.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        pytest.skip("pip finds no index to take openapi-generator from")
    assert hashlib.sha256(wheels[0].read_bytes()).hexdigest() == GENERATOR_SHA256
    shutil.unpack_archive(wheels[0], directory, "zip")
    return ["java", "-jar", str(next(directory.rglob("openapi-generator.jar")))]


def run(command: list[str], directory: Path, **environment: str) -> str:
    """Run a program that must end well."""
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=directory, env={**os.environ, **environment}
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def test_redocly_has_nothing_to_say_about_the_document(npm: Path, tmp_path: Path) -> None:
    shutil.copy(DOCUMENT, tmp_path)
    said = run([str(npm / "redocly"), "lint", "openapi.json", "--format=json"], tmp_path, REDOCLY_TELEMETRY="off")

    assert json.loads(said)["problems"] == []


def test_a_caller_in_typescript_is_typed_strictly(npm: Path, tmp_path: Path) -> None:
    run([str(npm / "openapi-typescript"), str(DOCUMENT), "--output", "api.d.ts"], tmp_path)
    (tmp_path / "caller.ts").write_text(CALLER)
    run([str(npm / "tsc"), "--strict", "--noEmit", "--target", "es2022", "caller.ts", "api.d.ts"], tmp_path)


def test_the_client_for_go_compiles(generator: list[str], tmp_path: Path) -> None:
    if shutil.which("go") is None:
        pytest.skip("go is not installed")
    run([*generator, "generate", "-g", "go", "-i", str(DOCUMENT), "-o", "client"], tmp_path)
    # The one module that it asks for, in the form in which it is used: nothing is fetched.
    validator = tmp_path / "validator"
    validator.mkdir()
    (validator / "go.mod").write_text("module gopkg.in/validator.v2\n\ngo 1.18\n")
    (validator / "validator.go").write_text("package validator\n\nfunc Validate(any) error { return nil }\n")
    run(["go", "mod", "edit", "-replace", "gopkg.in/validator.v2=../validator"], tmp_path / "client")
    run(["go", "vet", "."], tmp_path / "client", GOFLAGS="-mod=mod", GOPROXY="off", GOTOOLCHAIN="local")


def test_the_client_for_python_compiles_and_its_enums_have_names(generator: list[str], tmp_path: Path) -> None:
    run([*generator, "generate", "-g", "python", "-i", str(DOCUMENT), "-o", "client"], tmp_path)
    run([sys.executable, "-m", "compileall", "-q", "client/openapi_client"], tmp_path)
    models = {path.stem for path in (tmp_path / "client/openapi_client/models").glob("*.py")}
    document: dict[str, Any] = json.loads(DOCUMENT.read_bytes())

    assert {"status", "code", "notification_event"} <= models
    assert not [name for name in models if name[-1].isdigit()]
    assert all("x-enum-varnames" in schema for schema in document["components"]["schemas"].values() if "enum" in schema)
