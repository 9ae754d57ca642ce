"""A receiver's own text: a sandboxed Jinja2 template over a group of alerts. Pure, but for what the template costs.

A template that fails must not hold up a page: whoever renders falls back to the default text.
"""

from collections.abc import Sequence
from functools import cached_property

from jinja2 import StrictUndefined, Template
from jinja2.sandbox import ImmutableSandboxedEnvironment

from relay.webhooks.alerts import Alert, AlertGroup
from relay.webhooks.rendering import Wish, age_of, clean_lines, shorten

MOST_ALERTS = 20
"""Alerts that a template sees; it is rendered again with fewer until the text fits, and ``more`` counts the others."""

_LONGEST_TEXT = 3_200

_environment = ImmutableSandboxedEnvironment(autoescape=False, undefined=StrictUndefined)


class TemplateFailed(Exception):
    """A template cannot be rendered. ``cause`` is the class of what went wrong, never a value or a text."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


class AlertTemplate:
    """A template over ``status``, ``firing``, ``resolved``, ``alerts``, ``more``, ``labels``, ``annotations``, ``age``.

    Args:
        source: as it stands in the settings, which have checked its form.
    """

    def __init__(self, source: str) -> None:
        self._source = source

    @cached_property
    def _template(self) -> Template:
        return _environment.from_string(self._source)

    def render(self, group: AlertGroup, wish: Wish, now_ms: int) -> str:
        """Write the text, within the budget.

        Where it is over the budget, alerts are dropped from the end; a text that is too long even with one alert is
        shortened at a word.

        Raises:
            TemplateFailed: the template is wrong, or asks for what is not there.
        """
        text = ""
        for shown in range(min(len(group.alerts), MOST_ALERTS), 0, -1):
            text = self._render(group, group.alerts[:shown], now_ms)
            if wish.fits(text):
                return text
        return shorten(text, wish.fits)

    def _render(self, group: AlertGroup, alerts: Sequence[Alert], now_ms: int) -> str:
        try:
            text = self._template.render(
                status="FIRING" if group.firing else "RESOLVED",
                firing=group.firing_count,
                resolved=group.resolved_count,
                alerts=alerts,
                more=len(group.alerts) + group.cut_off - len(alerts),
                labels=group.common_labels,
                annotations=group.common_annotations,
                age=age_of(group.alerts, now_ms),
            )
        except Exception as error:  # noqa: BLE001 — a template may raise anything, and none of it may stop a page
            raise TemplateFailed(type(error).__name__) from None
        text = clean_lines(text[:_LONGEST_TEXT])
        if not text:
            raise TemplateFailed("empty")
        return text
