"""Alerts as an SMS: what a person on call reads at 3 a.m. Pure.

The text fits a budget of segments. What does not fit is dropped in an order that keeps what tells most: first labels,
then alerts ("+3 more"), and nothing is ever cut in the middle of a character.
"""

import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from urllib.parse import quote

from msgspec import Struct

from relay.domain.codes import OnNonGsm
from relay.domain.text import prepare_text
from relay.webhooks.alerts import Alert, AlertGroup

TELLING_LABELS = ("severity", "service", "job", "namespace", "cluster", "instance", "pod", "env")
"""Labels that tell most, in the order in which they are shown; dropped from the end."""

WORDS = ("summary", "message", "title", "description")
"""Annotations that say what is the matter, the best first; written in any case (SPEC, "Second edition")."""

_RULELESS_NAMES = frozenset({"datasourcenodata", "datasourceerror"})
"""Names that Grafana gives to alerts about a rule that gave no answer; its label ``rulename`` says which rule."""

MOST_SHOWN = 5
_SUMMARY_LENGTHS = (160, 80, 40, 0)
_LONGEST_LABEL = 40
_LONGEST_LOOKED_AT = 1_000
"""Characters of a label or annotation that are looked at: a body may hold a mebibyte of one."""

_LONGEST_ENCODED = 5_500
"""Bytes of the percent-encoded text, so that the upstream's URL stays short enough (SPEC section 2, Request)."""

Budget = Callable[[str], bool]


class Wish(Struct, frozen=True):
    """How a receiver wants its texts: ``max_segments`` after ``folding``."""

    max_segments: int
    folding: OnNonGsm

    def fits(self, text: str) -> bool:
        """Whether a text is within the budget, counted as it will be sent."""
        prepared = prepare_text(text, self.folding)
        return prepared.facts.segments <= self.max_segments and len(quote(prepared.message)) <= _LONGEST_ENCODED


class _Line(Struct, frozen=True):
    """What there is to say about one alert. ``told`` has a place for every telling label."""

    firing: bool
    name: str
    told: tuple[str, ...]
    summary: str


def render_alerts(group: AlertGroup, wish: Wish, now_ms: int) -> str:
    """Write the default text, within the budget.

    Args:
        group: what is told.
        wish: the budget.
        now_ms: wall-clock milliseconds, for the age of the oldest alert.

    Returns:
        Status and counts (of what was cut off, too), age, and an alert a line, the firing ones first; a line leaves
        out what it shares with the line before.
    """
    shown = sorted(group.alerts, key=lambda alert: not alert.firing)[:MOST_SHOWN]
    lines = [_line_of(alert) for alert in shown]
    total = len(group.alerts) + group.cut_off
    head = _head(group, now_ms)
    text = head
    for alerts, labels, summary_length in _choices(len(lines)):
        text = "\n".join([head, *_write(lines[:alerts], labels, summary_length), *_more(total - alerts)])
        if wish.fits(text):
            return text
    return shorten(text, wish.fits)


def age_of(alerts: Sequence[Alert], now_ms: int) -> str:
    """For how long the oldest firing alert has fired, in one unit; empty where nobody knows."""
    started = [alert.started_ms for alert in alerts if alert.firing and alert.started_ms is not None]
    if not started:
        return ""
    minutes = max(now_ms - min(started), 0) // 60_000
    if minutes < 60:
        return f"{minutes}m"
    hours = minutes // 60
    return f"{hours}h" if hours < 48 else f"{hours // 24}d"


def clean(text: str) -> str:
    """One line of printable text: controls and runs of blanks become one blank."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def clean_lines(text: str) -> str:
    """Printable text that keeps its lines, without empty ones."""
    return "\n".join(line for part in text.splitlines() if (line := clean(part)))


def shorten(text: str, fits: Budget) -> str:
    """The longest beginning that fits, up to a word where there is one, with dots to show that something is missing."""
    if fits(text):
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if fits(_at_a_word(text, middle)):
            low = middle
        else:
            high = middle - 1
    return _at_a_word(text, low)


def _choices(alerts: int) -> Iterator[tuple[int, int, int]]:
    """Alerts, labels and characters of a summary to show, from what tells most to what fits best."""
    for shown in range(alerts, 1, -1):
        for labels in range(len(TELLING_LABELS), -1, -1):
            yield shown, labels, _SUMMARY_LENGTHS[0]
    for summary_length in _SUMMARY_LENGTHS:
        for labels in range(len(TELLING_LABELS), -1, -1):
            yield 1, labels, summary_length


def _head(group: AlertGroup, now_ms: int) -> str:
    counts = []
    if group.firing_count:
        counts.append(f"FIRING {group.firing_count}")
    if group.resolved_count:
        counts.append(f"RESOLVED {group.resolved_count}")
    age = age_of(group.alerts, now_ms)
    return ", ".join(counts) + (f" ({age})" if age else "")


def _more(count: int) -> list[str]:
    return [f"+{count} more"] if count > 0 else []


def _line_of(alert: Alert) -> _Line:
    labels, annotations = _fold_names(alert.labels), _fold_names(alert.annotations)
    name = _label(labels, "alertname")
    if not name or name.casefold() in _RULELESS_NAMES:
        name = " ".join(part for part in (name, _label(labels, "rulename")) if part)
    said = (_said(values, word) for word in WORDS for values in (annotations, labels))
    return _Line(
        firing=alert.firing,
        name=name or "alert",
        told=tuple(_label(labels, label) for label in TELLING_LABELS),
        summary=next(filter(None, said), ""),
    )


def _fold_names(values: Mapping[str, str]) -> dict[str, str]:
    """What says something, by name in lower case; a name that is written so itself goes first."""
    folded: dict[str, str] = {}
    for name, value in values.items():
        if value and not value.isspace():
            plain = name.strip().casefold()
            folded[plain] = value if name == plain else folded.get(plain, value)
    return folded


def _label(labels: Mapping[str, str], name: str) -> str:
    return cut(clean(labels.get(name, "")[:_LONGEST_LOOKED_AT]), _LONGEST_LABEL)


def _said(annotations: Mapping[str, str], name: str) -> str:
    return clean(annotations.get(name, "")[:_LONGEST_LOOKED_AT])


def _write(lines: Sequence[_Line], labels: int, summary_length: int) -> Iterator[str]:
    """One line an alert; neighbours that would read the same become one."""
    before: Sequence[_Line | None] = (None, *lines)
    written = [_describe(line, above, labels, summary_length) for line, above in zip(lines, before, strict=False)]
    for text, same in groupby(written):
        count = len(list(same))
        yield text if count == 1 else f"{text} x{count}"


def _describe(line: _Line, above: _Line | None, labels: int, summary_length: int) -> str:
    new = above is None or (above.name, above.firing) != (line.name, line.firing)
    known = ("",) * len(TELLING_LABELS) if above is None or new else above.told
    told = [value for value, shown in zip(line.told[:labels], known, strict=False) if value and value != shown]
    summary = "" if above is not None and not new and above.summary == line.summary else line.summary
    summary = _at_a_word(summary, summary_length)
    name = [("" if line.firing else "ok ") + line.name] if new or not (told or summary) else []
    text = " ".join([*name, *(["/".join(told)] if told else [])])
    return ": ".join(part for part in (text, summary) if part)


def cut(text: str, most: int) -> str:
    """At most so many characters, and never a character without the marks that belong to it."""
    if len(text) <= most:
        return text
    while most > 0 and _belongs(text[most]):
        most -= 1
    return text[:most]


def _belongs(character: str) -> bool:
    """Whether a character is part of the one before it: a mark, a joiner, a variation, a skin tone."""
    return unicodedata.category(character) in ("Mn", "Mc", "Me") or "\U0001f3fb" <= character <= "\U0001f3ff"


def _at_a_word(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    if most <= 3:
        return ""
    head = cut(text, most - 3)
    blank = max(head.rfind(" "), head.rfind("\n"))
    # A beginning without a blank near its end is one long word: better cut than gone.
    return (head[:blank] if blank > len(head) // 2 else head) + "..."
