"""One fork server for all proofs that kill: its children are fresh processes in milliseconds.

It sets Django up once and opens no connection.
"""

from __future__ import annotations

import multiprocessing

FORK_SERVER = multiprocessing.get_context("forkserver")
FORK_SERVER.set_forkserver_preload(["tests.proofs.kill_at", "tests.proofs.pipeline_points"])
