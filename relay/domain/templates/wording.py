"""One text of a template: read by Jinja2's parser, checked, and written out with values."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import product

from jinja2 import TemplateSyntaxError, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

_MOST_CASES = 256
"""Ways in which the conditions of one text may turn out."""

_HIDDEN = re.compile(r"\{#|\{%[-+]?\s*raw\b")
"""What leaves no trace in the tree."""

_environment = ImmutableSandboxedEnvironment(autoescape=False)

_HOW = "only {{ value }} and {% if value %} … {% endif %} can be written"


class WordingError(Exception):
    """A text is no template. ``line`` counts from 1; ``what`` is wrong, to be read after the place."""

    def __init__(self, line: int, what: str) -> None:
        super().__init__(what)
        self.line = line
        self.what = what


class Wording:
    """A text with places for values.

    Conditions are ``value`` (is not empty), ``value == "text"``, ``!=``, ``not``, ``and``, ``or``.

    Args:
        source: as it stands in the file.

    Raises:
        WordingError: it holds anything but text, values and conditions.

    Example:
        >>> Wording("Order {{ order }}{% if eta %} by {{ eta }}{% endif %}.").write({"order": "{{ 7 }}", "eta": ""})
        'Order {{ 7 }}.'
    """

    def __init__(self, source: str) -> None:
        hidden = _HIDDEN.search(source)
        if hidden is not None:
            raise WordingError(source.count("\n", 0, hidden.start()) + 1, f"holds a comment or a raw block; {_HOW}")
        try:
            self._body = _environment.parse(source).body
        except TemplateSyntaxError as error:
            raise WordingError(error.lineno, f"is not written as a template; {_HOW}") from None
        self.names: dict[str, int] = {}
        """The values that it uses, each with the line where it stands first."""
        self._compared: dict[str, set[str]] = {}
        _check(self._body, self.names, self._compared)

    def write(self, values: Mapping[str, str]) -> str:
        """Write the text; every value that it names must be there."""
        return "".join(_write(self._body, values))

    def list_cases(self, values: Mapping[str, str]) -> list[dict[str, str]]:
        """List values with which every way in which the conditions can turn out is seen.

        Args:
            values: what stands for a value that is not empty and equals nothing that it is compared with.

        Raises:
            WordingError: there are too many.
        """
        choices = {
            name: list(dict.fromkeys([values[name], "", *sorted(texts)])) for name, texts in self._compared.items()
        }
        count = 1
        for each in choices.values():
            count *= len(each)
        if count > _MOST_CASES:
            raise WordingError(1, "has too many conditions to be judged; split it into several templates")
        return [{**values, **dict(zip(choices, case, strict=True))} for case in product(*choices.values())]


def _check(body: Sequence[nodes.Node], names: dict[str, int], compared: dict[str, set[str]]) -> None:
    for node in body:
        if isinstance(node, nodes.If):
            for branch in (node, *node.elif_):
                _check_test(branch.test, names, compared)
                _check(branch.body, names, compared)
            _check(node.else_, names, compared)
        elif isinstance(node, nodes.Output) and all(
            isinstance(each, nodes.TemplateData | nodes.Name) for each in node.nodes
        ):
            for each in node.nodes:
                if isinstance(each, nodes.Name):
                    names.setdefault(each.name, each.lineno)
        else:
            raise WordingError(node.lineno, f"holds something else; {_HOW}")


def _check_test(test: nodes.Node, names: dict[str, int], compared: dict[str, set[str]]) -> None:
    match test:
        case nodes.Name(name=name):
            names.setdefault(name, test.lineno)
            compared.setdefault(name, set())
        case nodes.Not(node=inner):
            _check_test(inner, names, compared)
        case nodes.And(left=left, right=right) | nodes.Or(left=left, right=right):
            _check_test(left, names, compared)
            _check_test(right, names, compared)
        case nodes.Compare(
            expr=nodes.Name(name=name), ops=[nodes.Operand(op="eq" | "ne", expr=nodes.Const(value=str(text)))]
        ):
            names.setdefault(name, test.lineno)
            compared.setdefault(name, set()).add(text)
        case _:
            raise WordingError(test.lineno, 'has another condition; write value, not value, value == "text", and, or')


def _write(body: Sequence[nodes.Node], values: Mapping[str, str]) -> Iterator[str]:
    for node in body:
        if isinstance(node, nodes.If):
            branches = (branch.body for branch in (node, *node.elif_) if _holds(branch.test, values))
            yield from _write(next(branches, node.else_), values)
        elif isinstance(node, nodes.Output):
            for each in node.nodes:
                if isinstance(each, nodes.TemplateData):
                    yield each.data
                elif isinstance(each, nodes.Name):
                    yield values[each.name]


def _holds(test: nodes.Node, values: Mapping[str, str]) -> bool:
    match test:
        case nodes.Not(node=inner):
            return not _holds(inner, values)
        case nodes.And(left=left, right=right):
            return _holds(left, values) and _holds(right, values)
        case nodes.Or(left=left, right=right):
            return _holds(left, values) or _holds(right, values)
        case nodes.Compare(expr=nodes.Name(name=name), ops=[nodes.Operand(op=op, expr=nodes.Const(value=text))]):
            return bool((values[name] == text) == (op == "eq"))
        case nodes.Name(name=name):
            return values[name] != ""
    raise AssertionError("a condition that was not checked")
