"""What a row holds is read as it was written, by this edition and by the first."""

from relay.domain.codes import AccountReason, Code, Rejection, Route
from relay.domain.notification import CallState, Outcome, UpstreamRecord
from relay.journal.encoding import decode_call, encode_outcomes

_BY_THE_FIRST_EDITION = (
    '[{"code":"upstream_rejected","upstream":{"code":"TG17","description":"Not Enough Units Balance"}},'
    '{"code":"sent","upstream":{"code":"0000","status":"SENT"},"resolved_by":"late_answer"}]'
)


def test_outcomes_of_the_first_edition_are_read_though_they_do_not_say_why_a_batch_was_refused() -> None:
    call = decode_call(("id", 1, "done", "dnd-fallback", 0, True, "[0,1]", _BY_THE_FIRST_EDITION, None, None))

    rejected, sent = call.outcomes
    assert (call.state, call.route) == (CallState.DONE, Route.DND_FALLBACK)
    assert (rejected.code, rejected.rejection) == (Code.UPSTREAM_REJECTED, None)
    assert rejected.upstream == UpstreamRecord("TG17", description="Not Enough Units Balance")
    assert sent.code is Code.SENT
    assert call.account == "smsclone"


def test_why_a_batch_was_refused_is_kept() -> None:
    outcome = Outcome(code=Code.UPSTREAM_REJECTED, upstream=UpstreamRecord("TG17"), rejection=Rejection.NO_BALANCE)
    call = decode_call(("id", 1, "done", "normal", 0, True, "[0]", encode_outcomes((outcome,)), "backup", "no_balance"))

    assert call.outcomes == (outcome,)
    assert (call.account, call.account_reason) == ("backup", AccountReason.NO_BALANCE)
