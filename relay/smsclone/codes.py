"""What smsclone's codes mean to the relay: two tables, with the source of each row.

Descriptions are the documented texts; nothing is ever matched on them.
"""

from msgspec import Struct

from relay.domain.codes import Code
from relay.sending.ports import RejectionKind

ACCEPTED = "TG00"


class BatchCode(Struct, frozen=True):
    """A rejection of a whole batch: nothing was processed (seed: any status apart from TG00)."""

    kind: RejectionKind
    description: str
    reason: str


REJECTIONS: dict[str, BatchCode] = {
    "TG11": BatchCode(RejectionKind.CREDENTIALS, "Invalid Authentication Credentials", "auth_failed"),  # seed
    "TG12": BatchCode(RejectionKind.CREDENTIALS, "Empty Username", "missing_username"),  # seed
    "TG13": BatchCode(RejectionKind.CREDENTIALS, "Empty Password", "missing_password"),  # seed
    "TG14": BatchCode(RejectionKind.CONTRACT, "Empty Recipients", "no_recipients"),  # seed
    "TG15": BatchCode(RejectionKind.CONTRACT, "Empty Message", "empty_message"),  # seed
    "TG16": BatchCode(RejectionKind.CONTRACT, "Empty SenderID", "empty_sender"),  # seed
    "TG17": BatchCode(RejectionKind.NO_BALANCE, "Not Enough Units Balance", "insufficient_units"),  # seed
    "TG18": BatchCode(RejectionKind.BLOCKED_SENDER, "Blocked Words Found Sender ID", "sender_blocked"),  # seed
    "TG19": BatchCode(RejectionKind.BLOCKED_WORDS, "Blocked Words Found in Message Body", "content_blocked"),  # seed
    "TG20": BatchCode(
        RejectionKind.TOO_MANY_RECIPIENTS, "Recipients above the maximum target", "too_many_recipients"
    ),  # seed
}

UNLISTED = BatchCode(RejectionKind.CONTRACT, "a code that smsclone does not document", "unknown_rejection")
"""A TGnn that is in no documentation: nothing was processed, and somebody should look (domain.md section 2, rule 3)."""


class RecordCode(Struct, frozen=True):
    """One recipient's code, the status word that belongs to it, and what it is to the relay.

    ``rank`` orders several records for one number: the best wins (domain.md section 2, rule 7).
    """

    word: str
    code: Code
    state: str
    rank: int


RECORDS: dict[str, RecordCode] = {
    "1111": RecordCode("DELIVERED", Code.DELIVERED, "delivered", 5),  # VTpass response codes
    "0000": RecordCode("SENT", Code.SENT, "sent", 4),  # seed
    "0014": RecordCode("DND_SENT", Code.SENT_DND, "sent_dnd", 4),  # seed
    "2222": RecordCode("REJECTED", Code.REJECTED, "rejected", 2),  # seed
    "3333": RecordCode("DND_REJECTED", Code.DND_REJECTED, "dnd_rejected", 1),  # seed
}
DOCUMENTED_DESCRIPTIONS: frozenset[str] = frozenset(
    {
        "MESSAGE SENT TO PROVIDER",  # seed
        "MESSAGE THROUGH COOPERATE DND ROUTE",  # seed
        "MESSAGE THROUGH COOPERATE",  # VTpass response codes
        "MESSAGE REJECTED",  # seed
        "DND_REJECTED_NUMBER",  # seed
        "MESSAGE DELIVERED TO HANDSET",  # VTpass response codes
    }
)
"""Descriptions that hold nothing of a call; any other has to be looked at before it is kept."""

UNKNOWN_RANK = 3
"""An unclear record is better than a rejection: something may have been sent."""
