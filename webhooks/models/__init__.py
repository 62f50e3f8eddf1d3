"""The tables of the event pipeline; private to this app.

lanes      who may drain what right now, and the footprints of runs that never ended
inbox      what providers told us, byte for byte, and what became of it
outbox     what happened here (domain events) and who has been told
merchants  where merchants listen, and every delivery and attempt
sweeping   periodic jobs and signs of life
samples    how the queues were, minute by minute
attempts   every try of ours that failed
dead_letters, dead_letter_runs  what waits for a person, and orders over many of them
"""

from __future__ import annotations

from webhooks.models.attempts import FailedAttempt
from webhooks.models.dead_letter_runs import DeadLetterRun, DeadLetterRunPortion
from webhooks.models.dead_letters import DeadLetter
from webhooks.models.inbox import InboxEvent, InboxKey
from webhooks.models.lanes import DrainFootprint, Lane
from webhooks.models.merchants import (
    DeliveryAttempt,
    EndpointHealth,
    EndpointHour,
    MerchantDelivery,
    WebhookEndpoint,
)
from webhooks.models.outbox import DeletedPromises, DomainEvent, EventDelivery, EventStream
from webhooks.models.questions import InboxQuestion
from webhooks.models.samples import FlowMinute, QueueSample
from webhooks.models.sweeping import Heartbeat, PeriodicJob

__all__ = [
    "DeadLetter",
    "DeadLetterRun",
    "DeadLetterRunPortion",
    "DeletedPromises",
    "DeliveryAttempt",
    "DomainEvent",
    "DrainFootprint",
    "EndpointHealth",
    "EndpointHour",
    "EventDelivery",
    "EventStream",
    "FailedAttempt",
    "FlowMinute",
    "Heartbeat",
    "InboxEvent",
    "InboxKey",
    "InboxQuestion",
    "Lane",
    "MerchantDelivery",
    "PeriodicJob",
    "QueueSample",
    "WebhookEndpoint",
]
