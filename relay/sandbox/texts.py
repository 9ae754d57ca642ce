"""Noise in and around the body of an answer, by the switch ``text``.

Source: the answer vectors (``upstream_answers.jsonl``) and domain.md section 2, last paragraph.
"""

from collections.abc import Callable

from relay.sandbox.switches import TextForm

_MAKE: dict[TextForm, Callable[[bytes], bytes]] = {
    "plain": lambda body: body,
    "bom": lambda body: b"\xef\xbb\xbf" + body,
    "padded": lambda body: b"  \r\n" + body + b"\r\n",
    "new_lines": lambda body: body.replace(b":", b":\n", 1).replace(b",", b",\n"),
    "lower_case": lambda body: body.replace(b"TG00-MESSAGE PROCESSED", b"tg00-message processed"),
    "trailing_comma": lambda body: body + b",",
    "junk_after": lambda body: body + b"\n<script>track()</script>",
    "bad_utf8": lambda body: body.replace(b"MESSAGE SENT", b"MESSAGE\x92S SENT"),
    "nul": lambda body: body.replace(b"MESSAGE SENT", b"MESSAGE\x00SENT"),
    "empty": lambda _body: b"",
}


def make_text(body: bytes, form: TextForm) -> bytes:
    """Give the body as the switch wants it."""
    return _MAKE[form](body)
