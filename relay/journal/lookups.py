"""Finding notifications by what is inside of them: a recipient, by keyed hash; a message id of the upstream's; an
account that a call of it took, other than the first one, which takes nearly all.

A row a subject and notification, in the order of a list, so that a look-up reads what it returns. What rows there must
be follows from the notification itself: so erasure and the end of retention know which ones go. A message id is one
notification's, so its row needs no order: client and time are empty.
"""

from collections.abc import Iterable, Sequence
from hashlib import blake2b

from sqlalchemy import LargeBinary, bindparam, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from relay.domain.clients import FIRST_ACCOUNT
from relay.domain.notification import Call, Notification, Outcome, Stored
from relay.journal.schema import lookups, notifications, unindexed
from relay.journal.statements import Statement, Step, insert_all, one_of

MOST_AT_A_CLAIM = 200
"""Recipients that the claim itself enters: some milliseconds. The others are entered bit by bit after it."""

_l = lookups.c
_ENTER = insert_all(lookups)
_PUT_OFF = insert_all(unindexed)
_LEAVE = Statement(
    delete(lookups).where(
        _l.subject == bindparam("of_subject"),
        _l.client == bindparam("of_client"),
        _l.created_at == bindparam("at"),
        _l.notification_id == bindparam("notification"),
    )
)
_n = notifications.c
_under_account = select(bindparam("account_subject", type_=LargeBinary), _n.client, _n.created_at, _n.id).where(
    _n.id == bindparam("notification")
)
_ENTER_ACCOUNT = Statement(
    sqlite=sqlite.insert(lookups).from_select(list(_l), _under_account).on_conflict_do_nothing(),
    postgres=postgresql.insert(lookups).from_select(list(_l), _under_account).on_conflict_do_nothing(),
)
INDEXED = Statement(delete(unindexed).where(one_of(unindexed.c.notification_id, "ids")), lists=("ids",))
NEXT_UNINDEXED = Statement(select(unindexed.c.notification_id).limit(bindparam("most")))


class Subjects:
    """What look-ups go by.

    Args:
        key: of the journal's hashes; without it nobody can tell from the table who was written to.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def recipient(self, number: str) -> bytes:
        """The keyed hash of a number (``234…``)."""
        return blake2b(number.encode(), digest_size=16, key=self._key, person=b"recipient").digest()

    def of_recipients(self, notification: Notification) -> list[bytes]:
        """One subject a number."""
        return [self.recipient(notification.entries[index].number or "") for index in notification.dialable()]


def claim_steps(notification: Notification, subjects: Subjects) -> list[Step]:
    """What enters a new notification, or says that it is still to be entered."""
    if len(notification.entries) > MOST_AT_A_CLAIM:
        return [(_PUT_OFF, {"notification_id": notification.id})]
    return enter_steps(notification, subjects.of_recipients(notification))


def enter_steps(notification: Notification, subjects: Sequence[bytes]) -> list[Step]:
    """What enters a notification under some of its recipients; those that are there stay."""
    return [
        (
            _ENTER,
            {
                "subject": subject,
                "client": notification.client,
                "created_at": notification.created_at,
                "notification_id": notification.id,
            },
        )
        for subject in subjects
    ]


def answer_steps(notification_id: str, outcomes: Iterable[Outcome]) -> list[Step]:
    """What enters a notification under the message ids of an answer."""
    return [
        (_ENTER, {"subject": subject, "client": "", "created_at": 0, "notification_id": notification_id})
        for subject in _message_ids(outcomes)
    ]


def _message_ids(outcomes: Iterable[Outcome]) -> list[bytes]:
    return [
        message_id_subject(outcome.upstream.message_id)
        for outcome in outcomes
        if outcome.upstream is not None and outcome.upstream.message_id
    ]


def message_id_subject(message_id: str) -> bytes:
    """A message id as it stands: it is no secret, and nobody's number."""
    return b"id\0" + message_id.encode()


def account_subject(account: str) -> bytes:
    """An account by its name."""
    return b"account\0" + account.encode()


def dial_steps(notification_id: str, account: str | None) -> list[Step]:
    """What enters a notification under the account that a call of it takes."""
    if account is None or account == FIRST_ACCOUNT:
        return []
    return [(_ENTER_ACCOUNT, {"account_subject": account_subject(account), "notification": notification_id})]


def leave_account_steps(notification: Notification, calls: Iterable[Call]) -> list[Step]:
    """What takes a notification out from under the accounts of its calls."""
    accounts = {call.account for call in calls if call.account is not None} - {FIRST_ACCOUNT}
    return leave_steps(notification, [account_subject(account) for account in sorted(accounts)])


def leave_steps(notification: Notification, subjects: Sequence[bytes]) -> list[Step]:
    """What takes a notification out from under some of its recipients."""
    of = {"of_client": notification.client, "at": notification.created_at, "notification": notification.id}
    return [(_LEAVE, {"of_subject": subject, **of}) for subject in subjects]


def leave_all_steps(stored: Stored, subjects: Subjects) -> list[Step]:
    """What takes a notification out everywhere, as far as nobody erased it there."""
    notification = stored.notification
    steps = leave_steps(notification, subjects.of_recipients(notification))
    answers = {subject for call in stored.calls for subject in _message_ids(call.outcomes)}
    of = {"of_client": "", "at": 0, "notification": notification.id}
    steps += leave_account_steps(notification, stored.calls)
    return steps + [(_LEAVE, {"of_subject": subject, **of}) for subject in answers]
