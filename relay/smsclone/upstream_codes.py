"""What smsclone's codes mean to the relay: two tables, with the source of each row.

Descriptions are the documented texts; nothing is ever matched against them.
"""

from msgspec import Struct

from relay.domain.codes import Code, Rejection

ACCEPTED = "TG00"


class BatchCode(Struct, frozen=True):
    """A rejection of a whole batch: nothing was processed (seed: any status apart from TG00)."""

    rejection: Rejection
    description: str


REJECTIONS: dict[str, BatchCode] = {
    "TG11": BatchCode(Rejection.CREDENTIALS, "Invalid Authentication Credentials"),  # seed
    "TG12": BatchCode(Rejection.CREDENTIALS, "Empty Username"),  # seed
    "TG13": BatchCode(Rejection.CREDENTIALS, "Empty Password"),  # seed
    "TG14": BatchCode(Rejection.CONTRACT, "Empty Recipients"),  # seed
    "TG15": BatchCode(Rejection.CONTRACT, "Empty Message"),  # seed
    "TG16": BatchCode(Rejection.CONTRACT, "Empty SenderID"),  # seed
    "TG17": BatchCode(Rejection.NO_BALANCE, "Not Enough Units Balance"),  # seed
    "TG18": BatchCode(Rejection.BLOCKED_SENDER, "Blocked Words Found Sender ID"),  # seed
    "TG19": BatchCode(Rejection.BLOCKED_WORDS, "Blocked Words Found in Message Body"),  # seed
    "TG20": BatchCode(Rejection.TOO_MANY_RECIPIENTS, "Recipients above the maximum target"),  # seed
}

UNLISTED = BatchCode(Rejection.CONTRACT, "a code that smsclone does not document")
"""A TGnn that is in no documentation: nothing was processed, and somebody should look (domain.md section 2, rule 3)."""


class RecordCode(Struct, frozen=True):
    """One recipient's code: the status word that goes with it, and what it means to the relay.

    ``rank`` orders several records for one number: the best wins (domain.md section 2, rule 7).
    """

    word: str
    code: Code
    rank: int


RECORDS: dict[str, RecordCode] = {
    "1111": RecordCode("DELIVERED", Code.DELIVERED, 5),  # VTpass response codes
    "0000": RecordCode("SENT", Code.SENT, 4),  # seed
    "0014": RecordCode("DND_SENT", Code.SENT_DND, 4),  # seed
    "2222": RecordCode("REJECTED", Code.REJECTED, 2),  # seed
    "3333": RecordCode("DND_REJECTED", Code.DND_REJECTED, 1),  # seed
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
"""Descriptions that are safe to keep; any other must be checked first."""

UNKNOWN_RANK = 3
"""An unclear record is better than a rejection: something may have been sent."""
