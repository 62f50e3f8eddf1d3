"""What the stream process counts; its own `/metrics` shows this and nothing else.

The names stand in a registry of their own, so that web processes do not show them as zeros.
"""

from __future__ import annotations

from prometheus_client import Counter, Gauge
from prometheus_client.registry import CollectorRegistry

REGISTRY = CollectorRegistry()
OPEN = Gauge("florin_streams_open", "Streams that are open now.", registry=REGISTRY)
FRAMES = Counter(
    "florin_stream_frames", "Frames handed to the network.", ["kind"], registry=REGISTRY
)
REFUSED = Counter(
    "florin_streams_refused", "Streams that were not opened.", ["code"], registry=REGISTRY
)
ENDED = Counter("florin_streams_ended", "Streams that ended.", ["reason"], registry=REGISTRY)
REDIS_UP = Gauge(
    "florin_stream_redis_up", "1 while changes are told through Redis.", registry=REGISTRY
)
