"""Templates in force, and how a request's values are put in."""

from collections.abc import Iterable, Mapping
from unicodedata import normalize

from msgspec import Struct

from relay.domain.codes import Encoding, MessageType, ProblemCode
from relay.domain.errors import FieldError
from relay.domain.templates.wording import Wording
from relay.domain.text import count_segments, find_forbidden_character


class TemplateError(Exception):
    """Templates cannot be used. ``errors`` has all that is wrong, each with its place."""

    def __init__(self, errors: tuple[str, ...]) -> None:
        super().__init__("; ".join(errors))
        self.errors = errors


class MessageTemplate(Struct, frozen=True, kw_only=True):
    """A template that was judged.

    Args:
        values: name → greatest length in characters.
        texts: language → text; the first one is the default.
        segments: how many a text takes at the longest, in the language where it takes most.
        max_segments: ``None``: as many as any message may take.
        unicode: whether values may hold what GSM-7 does not have; it is judged as UCS-2 then.
    """

    name: str
    version: int
    message_type: MessageType
    max_segments: int | None
    unicode: bool
    values: Mapping[str, int]
    texts: Mapping[str, Wording]
    segments: int

    @property
    def encoding(self) -> Encoding:
        """How its texts are judged."""
        return Encoding.UCS_2 if self.unicode else Encoding.GSM_7


class TemplateUse(Struct, frozen=True, kw_only=True):
    """What a request says instead of a text.

    Args:
        language, version: ``None``: the first one, the newest one.
        values: the caller's, of any JSON type.
        message_type: what the request says beside it, which must be the template's own.
    """

    name: str
    language: str | None = None
    version: int | None = None
    values: Mapping[str, object] = {}
    message_type: MessageType | None = None


class FilledTemplate(Struct, frozen=True, kw_only=True):
    """A template with values in it. ``text`` is what would have stood as the message."""

    template: MessageTemplate
    language: str
    values: Mapping[str, str]
    text: str


class TemplateBook:
    """All templates in force.

    Args:
        templates: of all files.

    Raises:
        TemplateError: a version of a template is there twice.
    """

    def __init__(self, templates: Iterable[MessageTemplate] = ()) -> None:
        self._versions: dict[str, dict[int, MessageTemplate]] = {}
        twice: list[str] = []
        for template in templates:
            versions = self._versions.setdefault(template.name, {})
            if template.version in versions:
                twice.append(f"{template.name}: version {template.version} is there twice; raise one of them")
            versions[template.version] = template
        if twice:
            raise TemplateError(tuple(twice))

    def list_versions(self) -> list[list[MessageTemplate]]:
        """Every template by name, each with its versions, newest first."""
        return [
            sorted(versions.values(), key=lambda template: -template.version)
            for _, versions in sorted(self._versions.items())
        ]

    def fill(self, use: TemplateUse) -> tuple[FilledTemplate | None, list[FieldError]]:
        """Put a request's values in.

        Returns:
            The text, where there can be one, and everything that is wrong: declared values are named, others are
            counted, none is repeated.
        """
        versions = self._versions.get(use.name)
        if versions is None:
            remedy = "GET /v1/templates lists the templates that exist."
            return None, [FieldError("template.name", "unknown_template", remedy)]
        template = versions.get(max(versions) if use.version is None else use.version)
        if template is None:
            known = ", ".join(map(str, sorted(versions)))
            return None, [FieldError("template.version", "unlisted_value", f"Use one of: {known}; none: the newest.")]
        errors = []
        if use.message_type not in (None, template.message_type):
            remedy = f"This template is {template.message_type.value}; leave message_type out."
            errors.append(FieldError("message_type", "not_the_templates", remedy))
        wording = template.texts.get(use.language or next(iter(template.texts)))
        if wording is None:
            remedy = f"Use one of: {', '.join(template.texts)}; none: the first."
            errors.append(FieldError("template.language", "unlisted_value", remedy))
        values, wrong = _read_values(template, use.values)
        errors += wrong
        if wording is None or any(error.code != ProblemCode.NON_GSM_VALUE.value for error in errors):
            return None, errors
        language = use.language or next(iter(template.texts))
        filled = FilledTemplate(template=template, language=language, values=values, text=wording.write(values))
        return filled, errors


def _read_values(template: MessageTemplate, given: Mapping[str, object]) -> tuple[dict[str, str], list[FieldError]]:
    values: dict[str, str] = {}
    errors: list[FieldError] = []
    for name, longest in template.values.items():
        value = given.get(name)
        text = normalize("NFC", value.replace("\r\n", "\n")) if isinstance(value, str) else ""
        wrong = _find_wrong(template, value, text, longest, is_given=name in given)
        if wrong is not None:
            errors.append(FieldError(f"template.values.{name}", *wrong))
        values[name] = text
    strangers = len(given.keys() - template.values.keys())
    if strangers:
        what = "1 value is" if strangers == 1 else f"{strangers} values are"
        declared = ", ".join(template.values) or "none"
        errors.append(
            FieldError("template.values", "undeclared_value", f"{what} not declared; declared are: {declared}.")
        )
    return values, errors


def _find_wrong(
    template: MessageTemplate, value: object, text: str, longest: int, *, is_given: bool
) -> tuple[str, str] | None:
    if not is_given:
        return "required", "Give every declared value; one that has nothing to say may be empty."
    if not isinstance(value, str):
        return "not_a_string", "Give a JSON string."
    if len(text) > longest:
        return "too_long", f"Give at most {longest} characters."
    if find_forbidden_character(text) is not None:
        return "control_character", "Only line feeds are allowed among control characters."
    if not template.unicode and count_segments(text).encoding is not Encoding.GSM_7:
        return ProblemCode.NON_GSM_VALUE.value, "Use characters of GSM-7: this template is judged with those."
    return None
