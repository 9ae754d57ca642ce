"""One name a thing, one thing a name; and the glossary in CONTRIBUTING says what the code says."""

import ast
import re
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RELAY = ROOT / "relay"
MODULES = sorted(RELAY.rglob("*.py"))

SHARED_CLASS_NAMES: dict[str, str] = {}
"""Names that two classes may have, each with the reason."""

SHARED_MODULE_NAMES: dict[str, str] = {}
"""Names that two modules may have, each with the reason."""

FORBIDDEN = ("gateway", "provider", "payload", "manager", "helper", "util", "doorman", "desk")
"""Words of no class, function or module: the glossary has a better one."""

GLOSSARY = re.compile(r"^\| \*\*(?P<term>[^*]+)\*\* \| (?P<meaning>.+?) \| (?P<code>.+) \|$", re.MULTILINE)


def name_of(module: Path) -> str:
    return str(module.relative_to(RELAY))


@cache
def named_nodes() -> list[tuple[str, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Every class and function, with its module."""
    return [
        (name_of(module), node)
        for module in MODULES
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def glossary() -> list[tuple[str, str]]:
    """Each term, with the names in the code that stand for it."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    section = text.partition("\n## Glossary\n")[2].partition("\n## ")[0]
    return [
        (found["term"], code)
        for found in GLOSSARY.finditer(section)
        for code in re.findall(r"`([^`]+)`", found["code"])
    ]


def test_no_two_classes_have_one_name() -> None:
    places = defaultdict(set)
    for module, node in named_nodes():
        if isinstance(node, ast.ClassDef):
            places[node.name].add(module)

    assert {name: where for name, where in places.items() if len(where) > 1 and name not in SHARED_CLASS_NAMES} == {}


def test_no_two_modules_have_one_name() -> None:
    places = defaultdict(set)
    for module in MODULES:
        if module.stem not in ("__init__", "__main__"):
            places[module.stem].add(name_of(module))

    assert {name: where for name, where in places.items() if len(where) > 1 and name not in SHARED_MODULE_NAMES} == {}


def test_no_name_has_a_word_for_which_there_is_a_better_one() -> None:
    words = {(module, node.name) for module, node in named_nodes()} | {(name_of(each), each.stem) for each in MODULES}
    parts = {
        (module, name): set(re.findall(r"[a-z]+", re.sub(r"([A-Z])", r" \1", name).lower())) for module, name in words
    }

    assert [place for place, found in parts.items() if found & {*FORBIDDEN, *(f"{word}s" for word in FORBIDDEN)}] == []


def test_no_docstring_only_points_elsewhere() -> None:
    pointing = [
        (module, node.name)
        for module, node in named_nodes()
        if re.fullmatch(r"See ``[^`]+``\.?", ast.get_docstring(node) or "")
    ]

    assert pointing == []


def test_the_glossary_is_short_and_has_terms() -> None:
    terms = {term for term, _ in glossary()}

    assert 10 <= len(terms) <= 30


@pytest.mark.parametrize(("term", "code"), glossary())
def test_a_term_of_the_glossary_has_its_name_in_the_code(term: str, code: str) -> None:
    names = {node.name for _, node in named_nodes()} | {name_of(module) for module in MODULES}
    names |= {f"{name_of(module.parent)}/" for module in MODULES}

    assert code in names, term
