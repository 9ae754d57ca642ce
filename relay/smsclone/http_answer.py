"""Reads one HTTP/1.1 answer, without I/O, within limits that protect against a hostile or broken server.

llhttp (strict) knows the grammar; this adds what a billed GET needs: caps, no encodings, few interim answers, nothing
that could belong to another answer.
"""

import httptools

from relay.smsclone.exchange import Cause, Exchange

MAX_HEAD_BYTES = 16 * 1024
MAX_BODY_BYTES = 64 * 1024
MAX_INTERIM_ANSWERS = 8
MAX_WIRE_BYTES = MAX_HEAD_BYTES + 8 * MAX_BODY_BYTES
"""With chunk sizes, extensions and trailers: a body in chunks of one byte takes six bytes for each."""

_VERSIONS = frozenset({"1.0", "1.1"})


class AnswerReader:
    """Reads the answer to one request.

    Args:
        head_only: the answer has no body whatever its headers say (CONNECT).

    Attributes:
        end: the result, once it is known; it never changes again.
        reusable: whether the connection may carry another request: the answer allows it, and nothing came after it.
    """

    def __init__(self, *, head_only: bool = False) -> None:
        self.end: Exchange | None = None
        self.reusable = False
        self._parser = httptools.HttpResponseParser(self)
        self._head_only = head_only
        self._in_head = True
        self._has_length = False
        self._head_bytes = 0
        self._unparsed_bytes = 0
        self._wire_bytes = 0
        self._interim_answers = 0
        self._body = bytearray()

    def feed(self, received: bytes) -> None:
        """Process received bytes."""
        if self.end is not None:
            self.reusable = False
            return
        self._wire_bytes += len(received)
        self._unparsed_bytes += len(received)
        try:
            self._parser.feed_data(received)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail(Cause.MALFORMED)
        if self._wire_bytes > MAX_WIRE_BYTES or (self._in_head and self._unparsed_bytes > MAX_HEAD_BYTES):
            self._fail(Cause.TOO_LARGE)

    def feed_end(self) -> None:
        """The peer closed the connection: an answer without a length is complete, any other is truncated."""
        if self._in_head:
            self._fail(Cause.CLOSED)
        elif self._has_length:
            self._fail(Cause.TRUNCATED)
        else:
            self._finish()
        self.reusable = False

    # --- called by httptools --------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self.end is not None:
            self.reusable = False

    def on_status(self, phrase: bytes) -> None:
        self._count_head(len(phrase))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count_head(len(name) + len(value))
        lower = name.lower()
        if lower == b"content-encoding" or (lower == b"transfer-encoding" and value.strip().lower() != b"chunked"):
            self._fail(Cause.COMPRESSED)
        elif lower in (b"content-length", b"transfer-encoding"):
            self._has_length = True

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if self._parser.get_http_version() not in _VERSIONS or not 100 <= status <= 599 or status == 101:
            self._fail(Cause.MALFORMED)
        elif status < 200:
            self._begin_again()
        else:
            self._in_head = False
            if self._head_only:
                self._finish()

    def on_body(self, part: bytes) -> None:
        if self.end is not None:
            self.reusable = False
            return
        self._body += part
        if len(self._body) > MAX_BODY_BYTES:
            self._fail(Cause.TOO_LARGE)

    def on_message_complete(self) -> None:
        if not self._in_head:
            self._finish()

    # --- the end --------------------------------------------------------------------------------------------------

    def _begin_again(self) -> None:
        """After an interim answer (RFC 9110, 15.2)."""
        self._interim_answers += 1
        self._head_bytes = self._unparsed_bytes = 0
        self._has_length = False
        if self._interim_answers > MAX_INTERIM_ANSWERS:
            self._fail(Cause.INTERIM_FLOOD)

    def _count_head(self, count: int) -> None:
        self._head_bytes += count
        if self._head_bytes > MAX_HEAD_BYTES:
            self._fail(Cause.TOO_LARGE)

    def _finish(self) -> None:
        if self.end is None:
            status = self._parser.get_status_code()
            self.end = Exchange(wrote=True, cause=Cause.ANSWERED, status=status, body=bytes(self._body))
            self.reusable = self._head_only or (self._has_length and self._parser.should_keep_alive())

    def _fail(self, cause: Cause) -> None:
        self.reusable = False
        if self.end is None:
            self.end = Exchange(wrote=True, cause=cause)
