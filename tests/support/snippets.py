"""The programs that the pages under openapi/ show, made to run: each language by what it needs."""

import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TYPESCRIPT = Path(__file__).parent / "typescript"
NAMES = {"bash": "snippet.sh", "python": "snippet.py", "ts": "snippet.mts", "go": "snippet.go", "java": "Snippet.java"}
PROGRAMS = {"bash": "bash", "ts": "node", "go": "go", "java": "javac"}


def read_snippet(page: str, language: str) -> str:
    """The one program of a language on a page."""
    text = (ROOT / page).read_text()
    [snippet] = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return str(snippet)


def make_program(page: str, language: str, directory: Path) -> list[str]:
    """Write a program of a page into a directory, compile it as strictly as its language can, and give its command.

    Skips the test where the language is not installed.
    """
    program = PROGRAMS.get(language, sys.executable)
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    source = directory / NAMES[language]
    source.write_text(read_snippet(page, language))
    if language == "ts":
        options = ("--strict", "--target", "es2022", "--module", "nodenext", "--noUnusedLocals", "--noUnusedParameters")
        _compile(["node", str(_find_tsc()), *options, str(source)], directory)
        return ["node", str(directory / "snippet.mjs")]
    if language == "go":  # "go run" ends with 1 whatever the program ends with
        _compile(["go", "vet", source.name], directory)
        _compile(["go", "build", "-o", "snippet", source.name], directory)
        return [str(directory / "snippet")]
    if language == "java":
        _compile(["javac", "-Xlint:all", "-Werror", source.name], directory)
        return ["java", "-cp", str(directory), "Snippet"]
    if language == "python":
        _compile([sys.executable, "-m", "mypy", "--strict", "--no-incremental", source.name], directory)
    return [program, str(source)]


def _compile(command: list[str], directory: Path) -> None:
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(directory)}
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@cache
def _find_tsc() -> Path:
    """TypeScript's compiler, fetched by npm once, as the lock file beside this one pins it."""
    home = Path(sys.prefix) / "typescript"
    compiler = home / "node_modules/typescript/bin/tsc"
    if compiler.is_file() and (home / "package-lock.json").read_bytes() == _lock():
        return compiler
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed, and it is npm that brings TypeScript's compiler")
    home.mkdir(exist_ok=True)
    shutil.copyfile(TYPESCRIPT / "package.json", home / "package.json")
    (home / "package-lock.json").write_bytes(_lock())
    fetch = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=0", "--fetch-timeout=30000"]
    done = subprocess.run(fetch, cwd=home, capture_output=True, text=True, check=False)
    if done.returncode:
        shutil.rmtree(home)
        pytest.skip("npm cannot be reached, and it is npm that brings TypeScript's compiler")
    return compiler


def _lock() -> bytes:
    return (TYPESCRIPT / "package-lock.json").read_bytes()
