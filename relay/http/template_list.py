"""``GET /v1/templates``: what can be sent by name."""

from collections.abc import Callable

from litestar import Controller, get
from msgspec import Struct

from relay.domain.codes import Encoding, MessageType, Permission
from relay.domain.templates import MessageTemplate, TemplateBook
from relay.http.openapi import ANY_CALLER, JSON, Answered, Content, described
from relay.http.parameters import Service

Templates = Callable[[], TemplateBook]
"""Gives those in force."""


class WorstCaseBody(Struct, frozen=True):
    """How a text travels and how many segments it takes with every value at its longest, in the longest language."""

    encoding: Encoding
    segments: int


class TemplateVersionBody(Struct, frozen=True, kw_only=True):
    """One version of a template. `values` has the greatest length of each, in characters; of languages the first is the
    default."""

    version: int
    message_type: MessageType
    languages: list[str]
    values: dict[str, int]
    unicode: bool
    max_segments: int | None
    worst_case: WorstCaseBody


class TemplateBody(Struct, frozen=True):
    """A template with its versions, newest first; a request gets the newest where it names none."""

    name: str
    versions: list[TemplateVersionBody]


class TemplatesBody(Struct, frozen=True):
    """Every template, by name."""

    items: list[TemplateBody]


class TemplatesController(Controller):
    """Templates."""

    @get(
        "/v1/templates",
        operation_id="listTemplates",
        tags=["Looking up"],
        summary="List the templates",
        description="What a request can name under `template`, with the values that each version declares.",
        opt={"permission": Permission.SEND},
        operation_class=described(
            Answered(200, "The templates.", (Content(JSON, TemplatesBody, "templates"),)), problems=ANY_CALLER
        ),
    )
    async def select(self, templates: Service[Templates]) -> TemplatesBody:
        """List them."""
        return TemplatesBody(
            [
                TemplateBody(versions[0].name, [_version(template) for template in versions])
                for versions in templates().list_versions()
            ]
        )


def _version(template: MessageTemplate) -> TemplateVersionBody:
    return TemplateVersionBody(
        version=template.version,
        message_type=template.message_type,
        languages=list(template.texts),
        values=dict(template.values),
        unicode=template.unicode,
        max_segments=template.max_segments,
        worst_case=WorstCaseBody(template.encoding, template.segments),
    )
