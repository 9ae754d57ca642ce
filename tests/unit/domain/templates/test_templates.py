"""Templates are judged when they are loaded, with the longest that a value can be; values stay text."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.domain.codes import MessageType
from relay.domain.templates import (
    TemplateBook,
    TemplateError,
    TemplateUse,
    Wording,
    WordingError,
    parse_templates,
)
from relay.domain.text import count_segments
from relay.domain.words import WordEntry, WordMatcher

MATCHER = WordMatcher(
    [
        WordEntry(text="you have won", category="prize", action="block"),
        WordEntry(text="urgent", category="pressure", action="warn"),
        WordEntry(text="bank", category="bank", action="block", message_types=frozenset({MessageType.PROMOTIONAL})),
    ]
)
ORDER = """
[[template]]
name = "order_sent"
version = 2
message_type = "transactional"
max_segments = 1
unicode = false
[template.values]
order = 12
[template.text]
en = "Your order {{ order }} is on its way."
pcm = "Your order {{ order }} dey come."
"""


def template(text: str = "Hello {{ name }}.", *, values: str = "name = 12", **fields: Any) -> str:
    lines = [f"{name} = {value}" for name, value in ({"name": '"greeting"'} | fields).items()]
    return (
        "\n".join(["[[template]]", *lines, "[template.values]", values, "[template.text]", f"en = '''{text}'''"]) + "\n"
    )


def errors(source: str) -> list[str]:
    with pytest.raises(TemplateError) as caught:
        parse_templates(source, MATCHER)
    return list(caught.value.errors)


def book(*sources: str) -> TemplateBook:
    return TemplateBook([each for source in sources for each in parse_templates(source, MATCHER)])


def fill(source: str, values: Mapping[str, object], **use: Any) -> Any:
    [[newest, *_]] = book(source).list_versions()
    filled, wrong = book(source).fill(TemplateUse(name=newest.name, values=values, **use))
    return [(error.field, error.code) for error in wrong] if wrong or filled is None else filled.text


def test_the_template_of_the_contract_is_read() -> None:
    [read] = parse_templates(ORDER, MATCHER)

    assert (read.name, read.version, read.message_type) == ("order_sent", 2, MessageType.TRANSACTIONAL)
    assert (dict(read.values), list(read.texts), read.segments) == ({"order": 12}, ["en", "pcm"], 1)
    assert fill(ORDER, {"order": "1204"}) == "Your order 1204 is on its way."
    assert fill(ORDER, {"order": "1204"}, language="pcm") == "Your order 1204 dey come."


# --- what a text may hold ---


@pytest.mark.parametrize(
    ("text", "values", "written"),
    [
        ("{{ a }}{{b}}", {"a": "1", "b": "2"}, "12"),
        ("x{% if a %}{{ a }}{% endif %}", {"a": ""}, "x"),
        ("{% if a %}yes{% else %}no{% endif %}", {"a": "0"}, "yes"),
        ("{% if not a %}none{% elif b %}{{ b }}{% else %}-{% endif %}", {"a": "1", "b": ""}, "-"),
        ('{% if a == "x" and b != "y" or not b %}1{% else %}2{% endif %}', {"a": "x", "b": "y"}, "2"),
        ("one\n{%- if a %}\ntwo{% endif %}\n", {"a": "1"}, "one\ntwo"),
        ("Pay {{ a }} {now} 50% #1 } %", {"a": "5"}, "Pay 5 {now} 50% #1 } %"),
    ],
)
def test_values_and_conditions_are_written(text: str, values: dict[str, str], written: str) -> None:
    assert Wording(text).write(values) == written


@pytest.mark.parametrize(
    "hostile",
    ["{{ 7 * 7 }}", "{% if x %}", "{{ self }}", "<b>&amp;\"'</b>", "{# #}", "%(name)s {name} ${name}", "\\n", "{%"],
)
def test_a_value_that_looks_like_a_template_stays_text(hostile: str) -> None:
    assert fill(template(values="name = 40"), {"name": hostile}) == f"Hello {hostile}."


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("{{ name | upper }}", 1),
        ("{{ name.upper() }}", 1),
        ("{{ name[0] }}", 1),
        ("{{ name ~ 'x' }}", 1),
        ("{{ 'text' }}", 1),
        ("{{ 7 }}", 1),
        ("{{ name() }}", 1),
        ("{{ name if name else name }}", 1),
        ("one\n\n{% for x in name %}{{ x }}{% endfor %}", 3),
        ("{% set x = 1 %}", 1),
        ("{% include 'x' %}", 1),
        ("{% extends 'x' %}", 1),
        ("{% import 'x' as x %}", 1),
        ("{% macro x() %}{% endmacro %}", 1),
        ("{% block x %}{% endblock %}", 1),
        ("{% filter upper %}x{% endfilter %}", 1),
        ("{% with %}{% endwith %}", 1),
        ("{% raw %}{{ name }}{% endraw %}", 1),
        ("one\n{# a comment #}", 2),
        ("{% if name is defined %}{% endif %}", 1),
        ("{% if name > 'a' %}{% endif %}", 1),
        ("{% if name in 'ab' %}{% endif %}", 1),
        ("{% if name == name %}{% endif %}", 1),
        ("{% if name | length %}{% endif %}", 1),
        ("{% if true %}{% endif %}", 1),
        ("one\n{% if name %}", 2),
        ("{{ name", 1),
        ("{% endif %}", 1),
        ("{{ }}", 1),
        ("{% unknown %}", 1),
    ],
)
def test_anything_else_is_refused_with_its_line(text: str, line: int) -> None:
    with pytest.raises(WordingError) as caught:
        Wording(text)

    assert caught.value.line == line
    [error] = errors(template(text))
    assert error.startswith("template[0].text.en ")
    assert f"line {line}" in error


# --- the judgement ---


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (template("Hi {{ nam }}."), "template[0].text.en uses nam, which is not declared (line 1); declared are name"),
        (template("{% if vip %}x{% endif %}y"), "template[0].text.en uses vip, which is not declared"),
        (template("x" * 149 + "{{ name }}", max_segments=1), "template[0].text.en takes 2 segments with values at"),
        (template("x" * 1_519 + "{{ name }}"), "template[0].text.en takes 11 segments"),
        (template("Now you have won {{ name }}"), 'template[0].text.en holds the blocked entry "you have won" (prize)'),
        (template("A bank", message_type='"promotional"'), 'holds the blocked entry "bank"'),
        (template("{% if name %}you have won{% else %}.{% endif %}"), 'holds the blocked entry "you have won"'),
        (template("N5,000 or \u20a65,000"), "holds what GSM-7 does not have, first U+20A6"),
        (template("{% if name %}x{% endif %}"), "can come out empty"),
        (template("   "), "can come out empty"),
        (template("a\tb"), "holds a control character"),
        (template(values="name = 0"), "template[0].values.name must be a whole number from 1 to 1600"),
        (template(values='name = "x"'), "template[0].values.name must be a whole number"),
        (template("x", values="a-b = 1"), "template[0].values.a-b is not a name for a value"),
        (template(version=0), "template[0].version must be a whole number from 1"),
        (template(version=1.5), "template[0].version must be"),
        (template(max_segments=11), "template[0].max_segments must be a whole number from 1 to 10"),
        (template(message_type='"sms"'), "template[0].message_type must be one of"),
        (template(name='"a b"'), "template[0].name must be text that matches"),
        (template(sender='"ACME"'), "template[0].sender is not known here"),
        (template().replace("en =", "english! =").replace("english!", '"english!"'), "is not a language"),
        ('[[template]]\nname = "x"\n', "template[0].text is missing"),
        ('[[template]]\nname = "x"\n[template.text]\n', "template[0].text has no language"),
        ("", "template is missing"),
        ("[[template]\n", "is not TOML"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_with_reason_and_place(source: str, said: str) -> None:
    assert any(said in error for error in errors(source)), errors(source)


def test_everything_that_is_wrong_is_told_at_once() -> None:
    found = errors(template("{{ x }}") + template("{{ name | upper }}") + template() + template("you have won"))

    assert [error.split()[0] for error in found] == [f"template[{index}].text.en" for index in (0, 1, 3)]


@pytest.mark.parametrize(
    ("text", "segments"),
    [
        ("x" * 136 + "{{ name }}", 1),
        ("x" * 137 + "{{ name }}", 2),
        ("{% if name %}{{ name }}" + "x" * 137 + "{% else %}" + "y" * 161 + "{% endif %}", 2),
        ("{% if name %}" + "x" * 150 + "{% endif %}{% if not name %}" + "y" * 150 + "{% endif %}", 1),
        ('{% if name == "a" %}' + "x" * 161 + "{% endif %}y", 2),
    ],
)
def test_a_text_takes_what_it_can_take_at_most(text: str, segments: int) -> None:
    [read] = parse_templates(template(text, max_segments=segments), MATCHER)

    assert read.segments == segments
    if segments > 1:
        assert "at most 1 are allowed" in errors(template(text, max_segments=segments - 1))[0]


def test_a_template_in_unicode_is_judged_as_ucs_2() -> None:
    ok, long = "\u20a6" * 46 + "{{ name }}", "\u20a6" * 47 + "{{ name }}"

    assert parse_templates(template(ok, unicode="true"), MATCHER)[0].segments == 1
    assert parse_templates(template(long, unicode="true"), MATCHER)[0].segments == 2


PIECES = st.sampled_from(
    ["abc ", "x" * 60, "\u20ac", "{{ a }}", "{{ b }}", "{% if a %}{{ b }}[long]{% else %}{% endif %}", "\n",
     '{% if b == "zz" %}' + "y" * 90 + "{% elif not a %}^^{% endif %}"]
)  # fmt: skip
GSM = st.text("aZ\u20ac{}\n\u00e9 ", max_size=20)


@given(st.lists(PIECES, min_size=1, max_size=8), GSM, GSM)
def test_no_value_makes_a_text_longer_than_it_was_judged(pieces: list[str], a: str, b: str) -> None:
    text = "." + "".join(pieces)
    [read] = parse_templates(template(text, values="a = 20\nb = 20"), MATCHER)
    written, wrong = TemplateBook([read]).fill(TemplateUse(name="greeting", values={"a": a, "b": b}))

    assert not wrong
    assert written is not None
    assert count_segments(written.text).segments <= read.segments


def test_a_text_with_too_many_conditions_is_refused() -> None:
    names = [f"v{index}" for index in range(9)]
    text = "x" + "".join(f"{{% if {name} %}}a{{% endif %}}" for name in names)

    assert "too many conditions" in errors(template(text, values="\n".join(f"{name} = 1" for name in names)))[0]


def test_200_templates_in_three_languages_are_judged() -> None:
    text = "Your order {{ order }} of {{ day }} is on its way.{% if eta %} It comes at {{ eta }}.{% endif %}"
    source = "".join(
        f'[[template]]\nname = "t{index}"\n[template.values]\norder = 12\nday = 10\neta = 5\n[template.text]\n'
        + "".join(f'{language} = "{index} {text}"\n' for language in ("en", "pcm", "yo"))
        for index in range(200)
    )
    read = parse_templates(source, MATCHER)

    assert len(read) == 200


# --- values ---


@pytest.mark.parametrize(
    ("values", "wrong"),
    [
        ({}, [("template.values.name", "required")]),
        ({"name": 7}, [("template.values.name", "not_a_string")]),
        ({"name": None}, [("template.values.name", "not_a_string")]),
        ({"name": "x" * 13}, [("template.values.name", "too_long")]),
        ({"name": "\u20a6"}, [("template.values.name", "non_gsm_value")]),
        ({"name": "a\tb"}, [("template.values.name", "control_character")]),
        ({"name": "x", "secret-name": "y"}, [("template.values", "undeclared_value")]),
        ({"x": 1, "y": 2}, [("template.values.name", "required"), ("template.values", "undeclared_value")]),
    ],
)
def test_declared_values_are_named_and_others_counted(values: dict[str, object], wrong: list[tuple[str, str]]) -> None:
    assert fill(template(), values) == wrong
    told = book(template()).fill(TemplateUse(name="greeting", values=values))
    assert "secret-name" not in str(told)


def test_a_value_counts_as_it_will_be_sent() -> None:
    assert fill(template(), {"name": "e\u0301" * 12}) == "Hello " + "\u00e9" * 12 + "."
    assert fill(template(), {"name": "a\r\nb"}) == "Hello a\nb."
    assert fill(template(), {"name": ""}) == "Hello ."
    assert fill(template(unicode="true"), {"name": "\u20a6500 \U0001f600"}) == "Hello \u20a6500 \U0001f600."


def test_the_newest_version_and_the_first_language_are_the_default() -> None:
    three = ORDER.replace("version = 2", "version = 3").replace("Your", "The")
    sources = (three, ORDER)

    def say(**use: Any) -> Any:
        filled, wrong = book(*sources).fill(TemplateUse(name="order_sent", values={"order": "7"}, **use))
        return [(error.field, error.code) for error in wrong] if wrong or filled is None else filled.text

    assert say() == "The order 7 is on its way."
    assert say(version=2, language="pcm") == "Your order 7 dey come."
    assert say(version=1) == [("template.version", "unlisted_value")]
    assert say(language="fr") == [("template.language", "unlisted_value")]
    assert say(message_type=MessageType.OTP) == [("message_type", "not_the_templates")]
    assert say(message_type=MessageType.TRANSACTIONAL) == "The order 7 is on its way."
    _, [error] = book(ORDER).fill(TemplateUse(name="nothing"))
    assert (error.field, error.code) == ("template.name", "unknown_template")


def test_a_version_that_is_there_twice_is_refused() -> None:
    with pytest.raises(TemplateError, match="order_sent: version 2 is there twice"):
        book(ORDER, ORDER)
