"""Message templates: texts agreed beforehand, judged when they are loaded, with places for a request's values.

**Decisions**

- 2026-11-29: Jinja2's own parser reads a text, and what it may hold is checked on its tree: values and conditions,
  nothing else. The few nodes that are left are written out here, so that no template is ever compiled or executed, and
  a value is never anything but text. Rejected: compiling each in Jinja2's sandbox, which takes 0.7 ms a text (600
  texts: 0.4 s) and leaves an interpreter where two kinds of node do.
- 2026-11-29: the longest case is found by writing the text out with every value at its longest, for each way in which
  its conditions can turn out: exact, because a longer value of wider characters never takes fewer segments.
"""

from relay.domain.templates.book import (
    FilledTemplate,
    MessageTemplate,
    TemplateBook,
    TemplateError,
    TemplateUse,
)
from relay.domain.templates.template_judge import parse_templates
from relay.domain.templates.wording import Wording, WordingError

__all__ = [
    "FilledTemplate",
    "MessageTemplate",
    "TemplateBook",
    "TemplateError",
    "TemplateUse",
    "Wording",
    "WordingError",
    "parse_templates",
]
