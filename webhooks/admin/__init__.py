"""The event pipeline in the back office: what came in, what happened, who was told, what is stuck.

Mental model: pages to look at, plus verbs where a person can mend something; a verb calls one
function of this app, once per click. Payloads are shown with their secrets masked.

reading       what the pages share
events        provider events, domain events, our handlers
merchants     endpoints, deliveries, attempts
endpoint_verbs  what is done with an endpoint; verbs is the page of one
dead_letters  what waits for a person, one by one
dead_letter_runs  and many at once
"""

from __future__ import annotations

from webhooks.admin import dead_letter_runs, dead_letters, events, merchants

__all__ = ["dead_letter_runs", "dead_letters", "events", "merchants"]
