"""What a handler says of itself for the OpenAPI document, beside its decorator: ``operation_class=described(…)``.

litestar knows one media type and no headers a status; so answers are described here, with all that can come.
"""

from collections.abc import Iterable
from typing import Any, ClassVar

from litestar.openapi.spec import Operation
from msgspec import Struct

from relay.domain.codes import ProblemCode
from relay.domain.codes import ProblemCode as P
from relay.http.examples import EXAMPLES
from relay.http.problems import PROBLEM_JSON, PROBLEMS

JSON = "application/json"
NDJSON = "application/x-ndjson"

ALWAYS = (P.BAD_REQUEST, P.INTERNAL_ERROR)
"""What any request can be answered with."""
ANY_CALLER = (P.UNAUTHENTICATED, P.PERMISSION_MISSING)
ANY_BODY = (P.INVALID_JSON, P.UNSUPPORTED_MEDIA_TYPE, P.BODY_TOO_LARGE, P.VALIDATION_FAILED)
NOT_ALLOWED = (P.SENDER_NOT_ALLOWED, P.ROUTE_NOT_ALLOWED, P.MESSAGE_TYPE_NOT_ALLOWED, P.TEMPLATE_REQUIRED)
LIMITS = (P.RATE_LIMITED, P.QUOTA_EXCEEDED, P.BUDGET_EXCEEDED, P.RECIPIENT_CAPPED)
UPSTREAM = (P.UPSTREAM_CREDENTIALS, P.UPSTREAM_CONTRACT, P.UPSTREAM_NO_BALANCE, P.UPSTREAM_UNREACHABLE)
UNAVAILABLE = (P.JOURNAL_UNAVAILABLE, P.OVERLOADED, P.DRAINING, P.PAUSED)

TEXT: dict[str, Any] = {"type": "string"}


class Content(Struct, frozen=True):
    """A body: its media type, the struct that it is (or a schema of this module; ``None``: text), an example's name."""

    media_type: str
    schema: type[Struct] | str | None
    example: str | None = None


class Answered(Struct, frozen=True):
    """An answer that is no problem: status, meaning, bodies, and headers beside ``X-Request-Id``."""

    status: int
    meaning: str
    contents: tuple[Content, ...] = ()
    headers: tuple[str, ...] = ()


class DescribedOperation(Operation):
    """An operation as its handler describes it, by :func:`described`."""

    answers: ClassVar[tuple[Answered, ...]] = ()
    problems: ClassVar[tuple[ProblemCode, ...]] = ()
    come_again: ClassVar[tuple[ProblemCode, ...]] = ()
    takes: ClassVar[tuple[Content, ...]] = ()

    def to_schema(self) -> dict[str, Any]:
        """Write the operation."""
        schema = super().to_schema()
        schema.pop("deprecated", None)
        if self.takes:
            schema["requestBody"] = {"required": True, "content": _contents(self.takes)}
        schema["responses"] = self._responses()
        return schema

    def _responses(self) -> dict[str, Any]:
        responses = {answer.status: _answer(answer) for answer in self.answers}
        by_status: dict[int, list[ProblemCode]] = {}
        for code in (*self.problems, *ALWAYS):
            by_status.setdefault(PROBLEMS[code].status, []).append(code)
        if self.come_again:
            by_status.setdefault(503, []).extend(self.come_again)
        for status, codes in by_status.items():
            problems = _problems(status, codes)
            if status in responses:
                problems["description"] = f"{responses[status]['description']} Or: {problems['description']}"
                problems["content"] |= responses[status]["content"]
            responses[status] = problems
        return {str(status): responses[status] for status in sorted(responses)}


def described(
    *answers: Answered,
    takes: tuple[Content, ...] = (),
    problems: tuple[ProblemCode, ...] = (),
    come_again: tuple[ProblemCode, ...] = (),
) -> type[Operation]:
    """Describe an operation, for a handler's ``operation_class``.

    Args:
        answers: all that are no problem.
        takes: request bodies.
        problems: codes that it can be answered with, beside :data:`ALWAYS`.
        come_again: codes that are 503 here, whatever they are elsewhere.
    """
    said = {"answers": answers, "takes": takes, "problems": problems, "come_again": come_again}
    return type("DescribedOperation", (DescribedOperation,), said)


def _answer(answer: Answered) -> dict[str, Any]:
    names = ("X-Request-Id", *answer.headers)
    return {
        "description": answer.meaning,
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in names},
        "content": _contents(answer.contents),
    }


def _contents(contents: Iterable[Content]) -> dict[str, Any]:
    described: dict[str, Any] = {}
    for content in contents:
        schema = content.schema
        name = schema if isinstance(schema, str) else None if schema is None else public_name(schema.__name__)
        media: dict[str, Any] = {"schema": TEXT if name is None else reference(name)}
        if content.example is not None:
            media["example"] = EXAMPLES[content.example]
        described[content.media_type] = media
    return described


def _problems(status: int, codes: list[ProblemCode]) -> dict[str, Any]:
    names = ["X-Request-Id"]
    if status in (409, 429, 503):
        names.append("Retry-After")
    if status == 429:
        names += ["RateLimit", "RateLimit-Policy"]
    if status == 401:
        names.append("WWW-Authenticate")
    examples = {code.value: {"$ref": f"#/components/examples/{code.value}"} for code in codes}
    return {
        "description": " ".join(f"`{code.value}`: {PROBLEMS[code].title}." for code in codes),
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in names},
        "content": {PROBLEM_JSON: {"schema": reference("Problem"), "examples": examples}},
    }


def reference(name: str) -> dict[str, Any]:
    """Refer to a schema by its public name."""
    return {"$ref": f"#/components/schemas/{name}"}


def public_name(name: str) -> str:
    """What a struct is called in the document."""
    return name.removesuffix("Body")
