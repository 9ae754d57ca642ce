"""Examples of requests and answers, for the OpenAPI document and the reference page. Numbers are made up."""

from typing import Any

_ID = "0192f3c4-5b1e-7c3a-9d2f-3a6b1c2d4e5f"

_ROUTE = {"requested": "auto", "used": "dnd-fallback", "reason": "default"}
_TEXT = {"encoding": "gsm-7", "characters": 30, "segments": 1, "replaced": []}

REQUEST: dict[str, Any] = {
    "sender": "ACME",
    "recipients": ["08012345678", "+234 801 234 5679"],
    "message": "Your order 1204 is on its way.",
    "reference": "order-1204",
}

MOVE = {"send_at": "2026-12-01T18:00:00+01:00"}


def _recipient(text: str, number: str, status: str, code: str, upstream: list[str] | None) -> dict[str, Any]:
    return {
        "input": text,
        "recipient": number,
        "status": status,
        "code": code,
        "retry_safe": False,
        "attempts": 0 if upstream is None else 1,
        "account": None if upstream is None else "smsclone",
        "upstream": upstream and dict(zip(("code", "status", "description", "message_id"), upstream, strict=True)),
    }


def _notification(status: str, counts: dict[str, int], recipients: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": _ID,
        "reference": "order-1204",
        "status": status,
        "replayed": False,
        "sandbox": False,
        "message_type": "transactional",
        "sender": "ACME",
        "route": _ROUTE | {"account": None if status == "queued" else "smsclone"},
        "text": _TEXT,
        "warnings": [],
        "counts": {"sent": 0, "rejected": 0, "unknown": 0, "not_sent": 0, "queued": 0} | counts,
        "recipients": recipients,
        "created_at": "2026-12-01T09:00:00.042Z",
        "completed_at": None if status == "queued" else "2026-12-01T09:00:01.310Z",
    }


_SENT = ["0000", "SENT", "MESSAGE SENT TO PROVIDER", "9967534522177818556581618"]
_DND_REJECTED = ["3333", "DND_REJECTED", "DND_REJECTED_NUMBER", "6667534522177818556581618"]

EXAMPLES: dict[str, Any] = {
    "move": MOVE,
    "suppression": {"recipient": "08012345678", "message_types": ["promotional"], "reason": "asked by phone"},
    "templates": {
        "items": [
            {
                "name": "order_sent",
                "versions": [
                    {
                        "version": 2,
                        "message_type": "transactional",
                        "languages": ["en", "pcm"],
                        "values": {"order": 12},
                        "unicode": False,
                        "max_segments": 1,
                        "worst_case": {"encoding": "gsm-7", "segments": 1},
                    }
                ],
            }
        ]
    },
    "request": REQUEST,
    "notification": _notification(
        "partial",
        {"sent": 1, "rejected": 1},
        [
            _recipient("08012345678", "2348012345678", "sent", "sent", _SENT),
            _recipient("+234 801 234 5679", "2348012345679", "rejected", "dnd_rejected", _DND_REJECTED),
        ],
    ),
    "queued": _notification(
        "queued",
        {"queued": 2},
        [
            _recipient("08012345678", "2348012345678", "queued", "queued", None),
            _recipient("+234 801 234 5679", "2348012345679", "queued", "queued", None),
        ],
    ),
    "batch": [REQUEST | {"idempotency_key": "order-1204"}, {"recipients": "08012345670", "message": "Hello."}],
    "batch_lines": '{"recipients": "08012345678", "message": "1"}\n{"recipients": "08012345679", "message": "2"}\n',
    "batch_answer": {
        "items": [
            {"index": 0, "id": _ID, "status": "queued"},
            {
                "index": 1,
                "problem": {
                    "type": "/docs/problems#validation_failed",
                    "title": "Fields are wrong",
                    "status": 422,
                    "code": "validation_failed",
                    "detail": "The request has fields that cannot be accepted; see errors.",
                    "request_id": "0192f3c4-5b1e-7000-8000-000000000001",
                    "errors": [
                        {
                            "field": "recipients[0]",
                            "code": "unassigned",
                            "message": "Not a mobile number that can be sent to.",
                        }
                    ],
                },
            },
        ],
        "accepted": 1,
        "refused": 1,
    },
    "preview": {
        "acceptable": True,
        "problems": [],
        "route": _ROUTE,
        "text": _TEXT,
        "recipients": [
            {"input": "08012345678", "recipient": "2348012345678"},
            {"input": "+234 801 234 5679", "recipient": "2348012345679"},
        ],
        "hits": [],
        "warnings": [],
        "calls": 1,
        "estimated_units": "2",
        "account": "smsclone",
        "account_reason": None,
    },
    "balance": {
        "units": "256.21",
        "read_at": "2026-12-01T09:00:00.042Z",
        "accounts": [{"account": "smsclone", "units": "256.21", "read_at": "2026-12-01T09:00:00.042Z"}],
    },
    "usage": {
        "from": "2026-11-01",
        "to": "2026-12-01",
        "by": ["client", "outcome"],
        "estimate": True,
        "rows": [
            {
                "client": "billing",
                "outcome": "sent",
                "messages": 1204,
                "recipients": 1310,
                "segments": 1502,
                "units": "1276.7",
            }
        ],
    },
    "resolve": {
        "outcome": "sent",
        "recipients": ["08012345678"],
        "reason": "their message list shows them as delivered",
    },
    "resolve_many": {
        "filter": {"client": "billing"},
        "outcome": "sent",
        "reason": "their message list shows them",
        "dry_run": True,
    },
    "match": {"csv": "Mobile,Date,Status\n08031234578,2026-11-29 14:05,SENT\n", "settle": False},
    "resend": {"message": "Your order 1204 is on its way."},
    "alerts": {
        "version": "4",
        "groupKey": '{}:{alertname="DiskFull"}',
        "status": "firing",
        "receiver": "oncall",
        "groupLabels": {"alertname": "DiskFull"},
        "alerts": [
            {
                "status": "firing",
                "labels": {"alertname": "DiskFull", "instance": "db-1", "severity": "critical"},
                "annotations": {"summary": "The disk of db-1 is full in two hours"},
                "startsAt": "2026-12-01T09:00:00Z",
                "fingerprint": "9c2a1f00d1f0a7e5",
            }
        ],
    },
    "erase": {"recipient": "08012345678"},
    "pause": {"reason": "smsclone hangs, their status page says so", "for": "15m"},
}
