"""Receivers: mistakes that would lose a page are found before one is sent."""

from collections.abc import Callable

import pytest

from relay.settings import Settings

Load = Callable[..., Settings]
Mistakes = Callable[..., dict[str, str]]

CLIENT = '[[clients]]\nname = "a"\nsenders = ["ACME"]\n'


def receiver(fields: str, recipients: str = 'recipients = ["08031234567"]') -> str:
    return f'{CLIENT}[[receivers]]\nname = "oncall"\nclient = "a"\nsender = "ACME"\n{recipients}\n{fields}\n'


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ("template = '{{ status'", "receivers[0].template"),
        ("template = '{{ status | nosuchfilter }}'", "receivers[0].template"),
        ("template = '{% for %}'", "receivers[0].template"),
        ('on_non_gsm = "reject"', "receivers[0].on_non_gsm"),
        ('fields = { message = "a.b", colour = "c" }', "receivers[0].fields"),
        ('fields = { reference = "a.b" }', "receivers[0].fields"),
        ('fields = { message = "a.[" }', "receivers[0].fields.message"),
        ('fields = { message = "a", recipients = "b" }', "receivers[0].recipients_allowed"),
    ],
)
def test_a_mistake_is_told_with_its_place(mistakes: Mistakes, fields: str, place: str) -> None:
    assert set(mistakes(receiver(fields))) == {place}


def test_why_nobody_would_be_reached_is_true_where_a_receiver_has_recipients(mistakes: Mistakes) -> None:
    [told] = mistakes(receiver('fields = { message = "a", recipients = "b" }')).values()

    assert "nobody whom a label or body names would get it" in told


def test_a_template_and_a_mapping_that_are_right_are_taken(load: Load) -> None:
    template = 'template = """\n{{ status }}\n{% for a in alerts %}{{ a.labels.alertname }}{% endfor %}"""\n'
    settings = load(receiver(template + 'fields = { message = "event.title" }'))

    assert settings.receivers[0].fields == {"message": "event.title"}


def test_a_body_may_name_recipients_where_a_list_says_which(load: Load) -> None:
    allowed = 'recipients_allowed = ["08031234567"]'
    settings = load(receiver('fields = { message = "a", recipients = "b" }', allowed))

    assert settings.receivers[0].recipients_allowed == ("08031234567",)


def test_a_receivers_client_may_not_send_by_templates_only(mistakes: Mistakes) -> None:
    client = '[[clients]]\nname = "a"\nsenders = ["ACME"]\ntemplates_only = true\n'
    receiver = '[[receivers]]\nname = "oncall"\nclient = "a"\nsender = "ACME"\nrecipients = ["08031234567"]\n'

    assert "by templates only" in mistakes(client + receiver)["receivers[0].client"]
