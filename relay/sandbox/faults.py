"""What each fault does to an answer: its steps, and how the connection ends.

Owns the table from kind to plan. It must never decide when a fault happens: switches and magic numbers do.

Source: the catalogue of faults, C1 (provider and network).
"""

import gzip
import zlib
from collections.abc import Callable

from relay.sandbox.switches import Fault, FaultKind
from relay.sandbox.wire import (
    Drip,
    Ending,
    Pause,
    SandboxReply,
    Send,
    Wire,
    choose_ending,
    error_page,
    make_head,
    send_whole,
)

_MEBIBYTE = 1 << 20
_HUGE = 1 << 30
_BOMB = 100 * _MEBIBYTE
_INTERIM_ANSWERS = 2_000
_HUGE_HEAD = 200_000
_BLOCK = 1 << 16

_API_PAGE = b"""<!DOCTYPE html>
<html lang="en"><head><title>API</title></head><body><h1>API</h1><p>For instance:</p>
<p>TG00-MESSAGE PROCESSED:0000|2348012345678|9967534522177818556581618|SENT|MESSAGE SENT TO PROVIDER</p></body></html>
"""
"""A page that holds the text of a success, as the upstream's own does."""


def plan(reply: SandboxReply, *, keep_alive: bool) -> Wire:
    """Give the steps of an answer.

    Args:
        keep_alive: whether the caller wants the connection to stay; a fault may end it all the same.
    """
    if reply.fault is not None:
        return _PLANS[reply.fault.kind](reply, reply.fault, keep_alive)
    return send_whole(reply, keep_alive)


def _with(reply: SandboxReply, *headers: tuple[str, str], status: int | None = None) -> SandboxReply:
    merged = (*reply.headers, *headers)
    return SandboxReply(status=reply.status if status is None else status, headers=merged, body=reply.body)


def _cut_at(reply: SandboxReply, fault: Fault) -> bytes:
    return reply.body[: len(reply.body) // 2 if fault.size is None else fault.size]


Plan = Callable[[SandboxReply, Fault, bool], Wire]


def _hang(_reply: SandboxReply, _fault: Fault, _keep: bool) -> Wire:
    return Wire((), Ending.HANG)


def _slow(reply: SandboxReply, fault: Fault, keep: bool) -> Wire:
    return send_whole(reply, keep, Pause(fault.seconds))


def _slow_head(reply: SandboxReply, fault: Fault, keep: bool) -> Wire:
    head = make_head(reply, keep, len(reply.body))
    return Wire((Drip(head, fault.seconds), Send(reply.body)), choose_ending(keep))


def _slow_body(reply: SandboxReply, fault: Fault, keep: bool) -> Wire:
    head = make_head(reply, keep, len(reply.body))
    return Wire((Send(head), Drip(reply.body, fault.seconds)), choose_ending(keep))


def _reset(_reply: SandboxReply, _fault: Fault, _keep: bool) -> Wire:
    return Wire((), Ending.RESET)


def _reset_in_body(reply: SandboxReply, fault: Fault, keep: bool) -> Wire:
    sent = make_head(reply, keep, len(reply.body)) + _cut_at(reply, fault)
    # A pause first, or the reset would overtake the bytes in the caller's kernel.
    return Wire((Send(sent), Pause(0.1)), Ending.RESET)


def _close(_reply: SandboxReply, _fault: Fault, _keep: bool) -> Wire:
    return Wire((), Ending.CLOSE)


def _cut(reply: SandboxReply, fault: Fault, keep: bool) -> Wire:
    return Wire((Send(make_head(reply, keep, len(reply.body)) + _cut_at(reply, fault)),), Ending.CLOSE)


def _cut_unannounced(reply: SandboxReply, fault: Fault, _keep: bool) -> Wire:
    return Wire((Send(make_head(reply, False, None) + _cut_at(reply, fault)),), Ending.CLOSE)


def _surplus(reply: SandboxReply, _fault: Fault, keep: bool) -> Wire:
    one = make_head(reply, keep, len(reply.body)) + reply.body
    return Wire((Send(one, times=2),), choose_ending(keep))


def _html(_reply: SandboxReply, _fault: Fault, keep: bool) -> Wire:
    page = b'<!DOCTYPE html>\n<html lang="en"><head><title>Login</title></head><body>Please log in.</body></html>\n'
    return send_whole(SandboxReply(body=page), keep)


def _api_page(_reply: SandboxReply, _fault: Fault, keep: bool) -> Wire:
    return send_whole(SandboxReply(body=_API_PAGE), keep)


def _retry_after(fault: Fault) -> tuple[tuple[str, str], ...]:
    return () if fault.retry_after is None else (("Retry-After", fault.retry_after),)


def _status(reply: SandboxReply, fault: Fault, keep: bool) -> Wire:
    return send_whole(_with(reply, *_retry_after(fault), status=fault.status), keep)


def _error_page(_reply: SandboxReply, fault: Fault, keep: bool) -> Wire:
    return send_whole(_with(error_page(fault.status), *_retry_after(fault)), keep)


def _redirect(_reply: SandboxReply, fault: Fault, keep: bool) -> Wire:
    status = fault.status if 300 <= fault.status < 400 else 302
    return send_whole(_with(error_page(status), ("Location", fault.location)), keep)


def _gzip(reply: SandboxReply, _fault: Fault, keep: bool) -> Wire:
    packed = SandboxReply(headers=reply.headers, body=gzip.compress(reply.body, mtime=0))
    return send_whole(_with(packed, ("Content-Encoding", "gzip")), keep)


def _gzip_bomb(reply: SandboxReply, fault: Fault, _keep: bool) -> Wire:
    """The answer followed by blanks, compressed block by block so that the bomb is never unpacked in our own memory."""
    packer = zlib.compressobj(wbits=31)
    first = packer.compress(reply.body) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(b" " * _MEBIBYTE) + packer.flush(zlib.Z_FULL_FLUSH)
    blocks = max(1, (_BOMB if fault.size is None else fault.size) // _MEBIBYTE)
    head = make_head(_with(reply, ("Content-Encoding", "gzip")), False, None)
    return Wire((Send(head + first), Send(block, times=blocks)), Ending.CLOSE)


def _huge(reply: SandboxReply, fault: Fault, keep: bool) -> Wire:
    size = _HUGE if fault.size is None else fault.size
    blocks, rest = divmod(size, _BLOCK)
    head = make_head(reply, keep, len(reply.body) + size)
    filler = Send(b" " * _BLOCK, times=blocks)
    return Wire((Send(head + reply.body), filler, Send(b" " * rest)), choose_ending(keep))


def _continue_flood(reply: SandboxReply, _fault: Fault, keep: bool) -> Wire:
    return send_whole(reply, keep, Send(b"HTTP/1.1 100 Continue\r\n\r\n", times=_INTERIM_ANSWERS))


def _switching_protocols(_reply: SandboxReply, _fault: Fault, _keep: bool) -> Wire:
    head = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    return Wire((Send(head),), Ending.HANG)


def _no_content_with_body(reply: SandboxReply, _fault: Fault, keep: bool) -> Wire:
    return send_whole(_with(reply, status=204), keep)


def _garbage(_reply: SandboxReply, _fault: Fault, _keep: bool) -> Wire:
    return Wire((Send(b"\x00\x15\x03\x01 not HTTP at all\r\nTG00-MESSAGE PROCESSED:\r\n\r\n"),), Ending.CLOSE)


def _huge_head(reply: SandboxReply, _fault: Fault, keep: bool) -> Wire:
    return send_whole(_with(reply, ("X-Filler", "x" * _HUGE_HEAD)), keep)


def _cookie(reply: SandboxReply, _fault: Fault, keep: bool) -> Wire:
    return send_whole(_with(reply, ("Set-Cookie", "laravel_session=sandbox; Path=/; HttpOnly")), keep)


_PLANS: dict[FaultKind, Plan] = {
    "hang": _hang,
    "slow": _slow,
    "slow_head": _slow_head,
    "slow_body": _slow_body,
    "reset": _reset,
    "reset_in_body": _reset_in_body,
    "close": _close,
    "cut": _cut,
    "cut_unannounced": _cut_unannounced,
    "surplus": _surplus,
    "html": _html,
    "api_page": _api_page,
    "status": _status,
    "error_page": _error_page,
    "redirect": _redirect,
    "gzip": _gzip,
    "gzip_bomb": _gzip_bomb,
    "huge": _huge,
    "continue_flood": _continue_flood,
    "switching_protocols": _switching_protocols,
    "no_content_with_body": _no_content_with_body,
    "garbage": _garbage,
    "huge_head": _huge_head,
    "cookie": _cookie,
}
