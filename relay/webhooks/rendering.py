"""Alerts as an SMS: what a person on call reads at 3 a.m. Pure.

The text fits a budget of segments. What does not fit is dropped in an order that keeps what tells most: first labels,
then alerts ("+3 more"), and nothing is ever cut in the middle of a character or of a placeholder.
"""

from collections.abc import Callable, Mapping, Sequence

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from relay.domain.codes import OnNonGsm
from relay.domain.text import prepare_text
from relay.webhooks.alerts import Alert, AlertGroup

TELLING_LABELS = ("severity", "service", "job", "namespace", "cluster", "instance", "pod", "env")
"""Labels that tell most, in the order in which they are shown; dropped from the end."""

_LONGEST_SUMMARY = 160
_LONGEST_LABEL = 40
_LONGEST_TEMPLATE_TEXT = 3_200

_environment = ImmutableSandboxedEnvironment(autoescape=False, undefined=StrictUndefined)


class TemplateFailed(Exception):
    """A receiver's template does not render; the default text goes out instead. Holds the class, never the values."""


def render_alerts(group: AlertGroup, *, max_segments: int, folding: OnNonGsm, now_ms: int) -> str:
    """Write the default text, within the budget.

    Args:
        group: what is told.
        max_segments: the budget.
        folding: how the text will be folded; the budget is counted on the folded text.
        now_ms: for the age of the oldest alert.
    """
    fits = _budget(max_segments, folding)
    shown = _distinct(group.alerts)
    for alerts in range(min(len(shown), 5), 0, -1):
        for labels in range(len(TELLING_LABELS), -1, -1):
            text = _write(group, shown[:alerts], labels, now_ms, summaries=True)
            if fits(text):
                return text
    bare = _write(group, shown[:1], 0, now_ms, summaries=False)
    return bare if fits(bare) else _shorten(bare, fits)


def render_template(source: str, group: AlertGroup, *, max_segments: int, folding: OnNonGsm, now_ms: int) -> str:
    """Write a receiver's own text: a sandboxed Jinja2 template over ``status``, ``firing``, ``resolved``, ``alerts``,
    ``labels``, ``annotations``, ``age``.

    Where the text is over the budget, alerts are dropped from the end and ``more`` counts them; a template that is too
    long even with one alert is shortened at a word.

    Raises:
        TemplateFailed: the template is wrong, or asks for what is not there.
    """
    fits = _budget(max_segments, folding)
    text = ""
    for shown in range(len(group.alerts), 0, -1):
        text = _render(source, group, group.alerts[:shown], now_ms)
        if fits(text):
            return text
    text = text or _render(source, group, group.alerts, now_ms)
    return text if fits(text) else _shorten(text, fits)


def find_template_error(source: str) -> str | None:
    """Say what is wrong with a template's form, or ``None``; for the check of the settings."""
    try:
        _environment.from_string(source)
    except TemplateError as error:
        return type(error).__name__
    return None


def _render(source: str, group: AlertGroup, alerts: Sequence[Alert], now_ms: int) -> str:
    try:
        text = _environment.from_string(source).render(
            status="FIRING" if group.firing else "RESOLVED",
            firing=group.firing_count,
            resolved=group.resolved_count,
            alerts=alerts,
            more=len(group.alerts) + group.cut_off - len(alerts),
            labels=group.common_labels,
            annotations=group.common_annotations,
            age=_age(group.alerts, now_ms),
        )
    except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError, MemoryError) as error:
        raise TemplateFailed(type(error).__name__) from None
    text = _clean(text)[:_LONGEST_TEMPLATE_TEXT]
    if not text:
        raise TemplateFailed("empty")
    return text


def _budget(max_segments: int, folding: OnNonGsm) -> Callable[[str], bool]:
    return lambda text: prepare_text(text, folding).facts.segments <= max_segments


def _write(group: AlertGroup, alerts: Sequence[Alert], labels: int, now_ms: int, *, summaries: bool) -> str:
    parts = [_head(group, now_ms)]
    parts += [_describe(alert, group.common_labels, labels, summary=summaries) for alert in alerts]
    more = len(group.alerts) + group.cut_off - len(alerts)
    if more > 0:
        parts.append(f"+{more} more")
    return "\n".join(parts)


def _head(group: AlertGroup, now_ms: int) -> str:
    counts = []
    if group.firing_count:
        counts.append(f"FIRING {group.firing_count}")
    if group.resolved_count:
        counts.append(f"RESOLVED {group.resolved_count}")
    age = _age(group.alerts, now_ms)
    return ", ".join(counts) + (f" ({age})" if age else "")


def _describe(alert: Alert, common: Mapping[str, str], labels: int, *, summary: bool) -> str:
    name = _clean(alert.labels.get("alertname", "alert"))[:_LONGEST_LABEL]
    told = [
        _clean(alert.labels[label])[:_LONGEST_LABEL] for label in TELLING_LABELS[:labels] if alert.labels.get(label)
    ]
    text = ("" if alert.firing else "ok ") + name + (f" {'/'.join(told)}" if told else "")
    said = alert.annotations.get("summary") or alert.annotations.get("description") or ""
    return f"{text}: {_at_a_word(_clean(said), _LONGEST_SUMMARY)}" if summary and said else text


def _distinct(alerts: Sequence[Alert]) -> list[Alert]:
    """Firing ones first, each in the sender's order."""
    return sorted(alerts, key=lambda alert: not alert.firing)


def _age(alerts: Sequence[Alert], now_ms: int) -> str:
    started = [alert.started_ms for alert in alerts if alert.firing and alert.started_ms is not None]
    if not started:
        return ""
    minutes = max(now_ms - min(started), 0) // 60_000
    if minutes < 60:
        return f"{minutes}m"
    hours = minutes // 60
    return f"{hours}h" if hours < 48 else f"{hours // 24}d"


def _clean(text: str) -> str:
    """One line of printable text: controls and runs of blanks become one blank."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _at_a_word(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    head = text[: most - 3]
    return head.rsplit(" ", 1)[0] + "..."


def _shorten(text: str, fits: Callable[[str], bool]) -> str:
    """The longest beginning that fits, at a word where there is one, with dots to show that something is missing."""
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if fits(_at_a_word(text, middle)):
            low = middle
        else:
            high = middle - 1
    return _at_a_word(text, max(low, 4))
