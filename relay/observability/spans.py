"""Which of the core's events are spans, and what they say."""

from relay.observability.tracing import Attribute, Attributes, SpanName, Tracing
from relay.sending import events


def record_span(tracing: Tracing, event: events.Event) -> None:
    """Record the span that an event stands for, if it stands for one.

    ``claim`` and ``record`` are moments: the core does not tell how long they took.
    """
    if isinstance(event, events.CallFinished):
        tracing.record(SpanName.DIAL, event.traceparent, _of_call(event), seconds=event.seconds)
    elif isinstance(event, events.NotificationClaimed):
        tracing.record(SpanName.CLAIM, event.traceparent, _of_notification(event))
    elif isinstance(event, events.NotificationCompleted):
        ended: Attributes = {**_of_notification(event), Attribute.STATUS: event.status}
        tracing.record(SpanName.RECORD, event.traceparent, ended)


def _of_call(event: events.CallFinished) -> Attributes:
    return {
        Attribute.NOTIFICATION: event.notification_id,
        Attribute.SMS_ROUTE: event.route,
        Attribute.RECIPIENTS: event.recipients,
        Attribute.OUTCOME: event.outcome,
        Attribute.CAUSE: event.cause,
    }


def _of_notification(event: events.NotificationClaimed | events.NotificationCompleted) -> Attributes:
    return {
        Attribute.NOTIFICATION: event.notification_id,
        Attribute.CLIENT: event.client,
        Attribute.MESSAGE_TYPE: event.message_type,
        Attribute.SMS_ROUTE: event.route,
    }
