"""A complete Florin on private servers, every process of which may be killed and started again.

Mental model: the same commands as in operation (config/processes.py), one PostgreSQL and one Redis
of its own, the sandbox provider beside it with its own books. Whoever breaks something here breaks
it for nobody else. Processes are bound to the life of the thread that starts them, so faults are
made in the main thread and load comes from others.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import urllib3

from config import processes
from config.embedded import PrivateServers
from tests.databases import free_ports
from tests.migrated_servers import migrated_servers
from tests.processes import RunningProcess, running

# One merchant is the whole load here.
WIDE_LIMITS = {
    f"FLORIN_RATE_LIMIT_{whose}_{what}": "100000"
    for whose in ("KEY", "MERCHANT")
    for what in ("READS", "WRITES", "CLIENT")
}


class Restartable:
    """One process of the stand: start, SIGKILL with all its children, start again."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        log_path: Path,
        environment: Mapping[str, str],
        url: str = "",
        ready_path: str = "",
    ) -> None:
        self._command = command
        self._log_path = log_path
        self._environment = environment
        self._url = url
        self._ready_path = ready_path
        self._stack = contextlib.ExitStack()
        self.child: RunningProcess | None = None

    def start(self) -> None:
        """Start it and wait until it answers, where it serves."""
        self.child = self._stack.enter_context(
            running(
                self._command,
                log_path=self._log_path,
                environment=self._environment,
                url=self._url,
                ready_path=self._ready_path,
            )
        )

    def kill(self) -> None:
        """SIGKILL the process and its children, without any warning."""
        assert self.child is not None, "Bug! killed before it was started"
        self.child.kill()

    def stop(self) -> None:
        """End it for good."""
        self._stack.close()


@dataclass
class Stand:
    """Addresses, keys and processes of one running Florin with its sandbox provider."""

    servers: PrivateServers
    environment: dict[str, str]
    base_url: str
    sandbox_url: str
    receiver_port: int
    shop: dict[str, str]
    web: Restartable
    worker: Restartable
    sweeper: Restartable
    _http: urllib3.PoolManager = field(
        default_factory=lambda: urllib3.PoolManager(maxsize=4, retries=False, timeout=30.0)
    )

    def sandbox(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Ask the sandbox with the account's secret key."""
        response = self._http.request(
            method,
            self.sandbox_url + path,
            json=body,
            headers={"Authorization": f"Bearer {self.shop['sandbox_key']}"},
        )
        assert response.status < 300, (response.status, response.data)
        return response.json()

    def movements(self) -> list[dict[str, Any]]:
        """Everything that really happened to money, by the provider's own record."""
        found: list[dict[str, Any]] = []
        while True:
            after = found[-1]["seq"] if found else 0
            page = self.sandbox("GET", f"/v1/movements?after={after}&limit=1000")["data"]
            if not page:
                return found
            found += page

    def send_events_to(self, url: str) -> None:
        """Register a webhook endpoint of the merchant for all events."""
        response = self._http.request(
            "POST",
            f"{self.base_url}/v1/webhook_endpoints",
            json={"url": url, "event_types": ["*"]},
            headers={
                "Authorization": f"Bearer {self.shop['secret_key']}",
                "Idempotency-Key": f"stand-endpoint-{secrets.token_hex(8)}",
            },
        )
        assert response.status == 201, (response.status, response.data)

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a management command on this stand; the caller looks at the status."""
        return subprocess.run(
            processes.manage(*arguments),
            cwd=processes.BASE_DIR,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )


@contextlib.contextmanager
def running_stand(
    folder: Path,
    *,
    web_workers: int = 2,
    settings: Mapping[str, str] | None = None,
    with_background: bool = True,
) -> Iterator[Stand]:
    """Everything running for the length of a `with`; `settings` are environment variables."""
    web_port, sandbox_port, receiver_port = free_ports(3)
    base_url, sandbox_url = (f"http://127.0.0.1:{port}" for port in (web_port, sandbox_port))
    with migrated_servers() as servers, contextlib.ExitStack() as stack:
        static_folder = folder / "static"
        static_folder.mkdir(parents=True)
        environment = {
            **servers.environment(),
            "FLORIN_BASE_URL": base_url,
            "FLORIN_SANDBOX_URL": sandbox_url,
            "FLORIN_WEBHOOK_ALLOWED_HOSTS": f"127.0.0.1:{receiver_port}",
            "FLORIN_DATABASE_POOL_SIZE": str(processes.WEB_THREADS_PER_WORKER),
            **WIDE_LIMITS,
            **(settings or {}),
        }

        def process(name: str, command: Sequence[str], **more: Any) -> Restartable:
            made = Restartable(
                command, log_path=folder / f"{name}.log", environment=environment, **more
            )
            stack.callback(made.stop)
            return made

        sandbox = process(
            "sandbox",
            processes.sandbox_provider(port=sandbox_port, data_folder=folder / "sandbox"),
            url=sandbox_url,
        )
        web = process(
            "web",
            processes.web(port=web_port, workers=web_workers, static_folder=static_folder),
            url=base_url,
            ready_path="/healthz",
        )
        worker = process("worker", processes.worker(concurrency=1))
        sweeper = process("sweeper", processes.sweeper())
        sandbox.start()
        stand = Stand(
            servers=servers,
            environment=environment,
            base_url=base_url,
            sandbox_url=sandbox_url,
            receiver_port=receiver_port,
            shop=_open_shop(environment),
            web=web,
            worker=worker,
            sweeper=sweeper,
        )
        web.start()
        if with_background:
            worker.start()
            sweeper.start()
        stand.sandbox(
            "POST",
            "/v1/webhook_endpoints",
            {
                "url": f"{base_url}/webhooks/sandbox/{stand.shop['endpoint_token']}",
                "secret": stand.shop["webhook_secret"],
            },
        )
        yield stand


def _open_shop(environment: Mapping[str, str]) -> dict[str, str]:
    completed = subprocess.run(
        [sys.executable, "-m", "tests.proofs.prepare_shop"],
        cwd=processes.BASE_DIR,
        env=dict(environment),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr
    opened: dict[str, str] = json.loads(completed.stdout)
    return opened
