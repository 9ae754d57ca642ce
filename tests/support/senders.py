"""What senders that have a preset post: written from their documented fields (the sources stand in the presets), with
numbers and names made up; how they sign; and what the SMS must say."""

import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct
from standardwebhooks import Webhook

PERSON = "2348031234567"
ON_CALL = "2348031234568"

STANDARD_SECRET = "v1,whsec_Y2FuYXJ5LXN1cGFiYXNlLWhvb2stc2VjcmV0LTFRMlc="
SECRET = "canary-webhook-secret-8Hq2"

Headers = dict[str, str]
Sign = Callable[[bytes], Headers]


class Sender(Struct, frozen=True, kw_only=True):
    """One sender.

    Attributes:
        body: what it posts.
        settings: what the receiver needs besides name, client and preset, as TOML.
        sign: the headers that stand for a key; ``None`` where it sends one.
        key_header: where it sends the key, and in which form.
        headers: others that it sends.
        text, recipients: of the SMS.
    """

    body: Any
    settings: str
    text: str
    recipients: tuple[str, ...]
    sign: Sign | None = None
    key_header: tuple[str, str] = ("Authorization", "Bearer {}")
    headers: Headers = {}

    @property
    def encoded(self) -> bytes:
        """The body as it is posted."""
        return json.dumps(self.body, ensure_ascii=False).encode()

    def credentials(self, key: str, body: bytes) -> Headers:
        """What stands for its right to send this body."""
        if self.sign is not None:
            return self.sign(body)
        name, form = self.key_header
        return {name: form.format(key)}


def sign_standard(body: bytes, secret: str = STANDARD_SECRET, age_seconds: int = 0) -> Headers:
    """As Supabase signs: with another id for each attempt."""
    seconds = int(time.time()) - age_seconds
    message_id = str(uuid.uuid4())
    at = datetime.fromtimestamp(seconds, UTC)
    signature = Webhook(secret.removeprefix("v1,")).sign(message_id, at, body.decode())
    return {"webhook-id": message_id, "webhook-timestamp": str(seconds), "webhook-signature": signature}


def sign_zitadel(body: bytes, secret: str = SECRET, at: int | None = None) -> Headers:
    """As ZITADEL signs."""
    seconds = int(time.time()) if at is None else at
    digest = hmac.new(secret.encode(), b"%d." % seconds + body, hashlib.sha256).hexdigest()
    return {"ZITADEL-Signature": f"t={seconds},v1={digest}"}


def sign_sentry(body: bytes, secret: str = SECRET) -> Headers:
    """As Sentry signs."""
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {
        "Request-ID": str(uuid.uuid4()),
        "Sentry-Hook-Resource": "event_alert",
        "Sentry-Hook-Timestamp": str(int(time.time())),
        "Sentry-Hook-Signature": digest,
    }


_TO_ON_CALL = f'recipients = ["{ON_CALL}"]'

SENDERS: dict[str, Sender] = {
    "supabase": Sender(
        body={
            "user": {
                "id": "6481a5c1-3d37-4a56-9f6a-bee08c554965",
                "aud": "authenticated",
                "role": "authenticated",
                "email": "",
                "phone": f"+{PERSON}",
                "phone_confirmed_at": "2026-11-13T11:52:48.157306Z",
                "app_metadata": {"provider": "phone", "providers": ["phone"]},
                "user_metadata": {},
                "identities": [],
                "created_at": "2026-11-13T11:45:33.7738Z",
                "updated_at": "2026-11-14T12:31:52.82475Z",
                "is_anonymous": False,
            },
            "sms": {"otp": "561166"},
        },
        settings=f'hmac_secret = "{STANDARD_SECRET}"',
        sign=sign_standard,
        text="Your code is 561166.",
        recipients=(PERSON,),
    ),
    "zitadel": Sender(
        body={
            "contextInfo": {
                "eventType": "user.human.phone.code.added",
                "provider": {"id": "285181292935381355", "description": "relay"},
                "recipientPhoneNumber": f"+{PERSON}",
            },
            "templateData": {
                "title": "Zitadel - Verify phone",
                "preHeader": "Verify phone",
                "subject": "Verify phone",
                "greeting": "Hello Ada Obi,",
                "text": "Use the code 0M53RF to verify your phone number.",
                "url": "",
                "buttonText": "Verify phone",
                "primaryColor": "#5469d4",
                "footerText": "",
            },
            "args": {"code": "0M53RF", "displayName": "Ada Obi", "lastPhone": f"+{PERSON}", "verifiedPhone": ""},
        },
        settings=f'hmac_secret = "{SECRET}"',
        sign=sign_zitadel,
        text="Use the code 0M53RF to verify your phone number.",
        recipients=(PERSON,),
    ),
    "novu": Sender(
        body={
            "to": f"+{PERSON}",
            "from": "Novu",
            "sender": "Novu",
            "content": "Your parcel is on its way.",
            "id": "65f1c0ffee0123456789abcd",
        },
        settings="",
        key_header=("X-API-KEY", "{}"),
        text="Your parcel is on its way.",
        recipients=(PERSON,),
    ),
    "authentik": Sender(
        body={
            "From": "+15005550006",
            "To": f"+{PERSON}",
            "Body": "482913",
            "Message": "Use this code to authenticate in authentik: 482913",
        },
        settings="",
        text="Use this code to authenticate in authentik: 482913",
        recipients=(PERSON,),
    ),
    "uptime-kuma": Sender(
        body={
            "heartbeat": {
                "monitorID": 10,
                "status": 0,
                "time": "2026-11-16 10:41:24.905",
                "msg": "connect ECONNREFUSED 10.13.13.13:443",
                "important": True,
                "duration": 60,
                "timezone": "Africa/Lagos",
                "timezoneOffset": "+01:00",
                "localDateTime": "2026-11-16 11:41:24",
            },
            "monitor": {"id": 10, "name": "Shop", "url": "https://shop.example", "method": "GET", "type": "http"},
            "msg": "[Shop] [🔴 Down] connect ECONNREFUSED 10.13.13.13:443",
        },
        settings=_TO_ON_CALL,
        text="[Shop] [Down] connect ECONNREFUSED 10.13.13.13:443",
        recipients=(ON_CALL,),
    ),
    "zabbix": Sender(
        body={
            "To": PERSON,
            "Subject": "Problem: Disk space is low on db-1",
            "Message": "Problem started at 09:12:33 on 2026.11.16\nSeverity: High\nOriginal problem ID: 4711",
            "EventID": "4711",
            "EventValue": "1",
        },
        settings=_TO_ON_CALL,
        text="Problem: Disk space is low on db-1\nProblem started at 09:12:33 on 2026.11.16\n"
        "Severity: High\nOriginal problem ID: 4711",
        recipients=(PERSON,),
    ),
    "argocd": Sender(
        body={
            "app": {
                "metadata": {"name": "guestbook", "namespace": "argocd"},
                "spec": {"source": {"repoURL": "https://git.example/apps.git", "targetRevision": "HEAD"}},
                "status": {
                    "sync": {"status": "OutOfSync", "revision": "ec0ffee"},
                    "health": {"status": "Degraded"},
                    "operationState": {
                        "phase": "Failed",
                        "message": "one or more objects failed to apply",
                        "finishedAt": "2026-11-16T09:12:33Z",
                    },
                },
            }
        },
        settings=_TO_ON_CALL,
        text="guestbook OutOfSync Degraded Failed one or more objects failed to apply",
        recipients=(ON_CALL,),
    ),
    "sentry": Sender(
        body={
            "action": "triggered",
            "actor": {"id": "sentry", "name": "Sentry", "type": "application"},
            "data": {
                "event": {
                    "event_id": "e4874d664c3540c1a32eab185f12c5ab",
                    "issue_id": "1117540176",
                    "title": "ReferenceError: heck is not defined",
                    "web_url": "https://sentry.example/organizations/acme/issues/1117540176/events/e4874d66/",
                    "level": "error",
                    "datetime": "2026-11-16T09:12:33.000000Z",
                },
                "triggered_rule": "Checkout errors",
            },
            "installation": {"uuid": "a8e5d37a-696c-4c54-adb5-b3f28d64c7de"},
        },
        settings=f'{_TO_ON_CALL}\nhmac_secret = "{SECRET}"',
        sign=sign_sentry,
        text="Checkout errors: ReferenceError: heck is not defined",
        recipients=(ON_CALL,),
    ),
    "cloudevents": Sender(
        body={
            "specversion": "1.0",
            "type": "com.acme.payment.failed",
            "source": "/payments/lagos",
            "subject": "1204",
            "id": "A234-1234-1234",
            "time": "2026-11-16T09:12:33Z",
            "datacontenttype": "application/json",
            "data": {"message": "Payment of order 1204 failed", "amount": 12.50},
        },
        settings=_TO_ON_CALL,
        headers={"Content-Type": "application/cloudevents+json"},
        text="Payment of order 1204 failed",
        recipients=(ON_CALL,),
    ),
}
