"""What every test may ask for: connections of each party, processes, private servers, a browser.

Importing this file gives the process its own databases (tests/databases.py) and sets Django up,
so that test modules and nested conftest files can import models. The database is open to every
test, and nothing is rolled back.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import django
import psycopg
import pytest
from pytest_django import DjangoDbBlocker

from config.embedded import PrivateServers
from config.server_process import ServerFailed
from tests import databases as test_databases
from tests.databases import TestDatabases
from tests.migrated_servers import migrated_servers

try:
    _DATABASES = test_databases.prepare()
except ServerFailed as failure:
    pytest.exit(f"The tests need PostgreSQL and Redis. {failure}", returncode=3)
# Not left in the environment: pytest-django, finding it there, would read the settings of a worker
# process before that has databases of its own.
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()
del os.environ["DJANGO_SETTINGS_MODULE"]

pytest_plugins = ["tests.processes", "tests.browser", "tests.work_order"]


@pytest.fixture(scope="session")
def django_db_setup() -> None:
    """Instead of pytest-django's: the database exists already, as a clone of the template."""


@pytest.fixture(scope="session", autouse=True)
def databases(django_db_blocker: DjangoDbBlocker) -> Iterator[TestDatabases]:
    """The databases of this test process, open to every test."""
    from django.db import connections

    from webhooks import lanes

    with test_databases.cloned_database(_DATABASES), django_db_blocker.unblock():
        yield _DATABASES
        lanes.close_side_connection()
        connections.close_all()


@pytest.fixture(autouse=True)
def _no_transaction_is_left_open(databases: TestDatabases) -> Iterator[None]:
    """A test that leaves a transaction open would hide its commit, and lock out the next."""
    yield
    from django.db import connections

    for alias in connections:
        connection = connections[alias]
        if connection.connection is not None and not connection.get_autocommit():
            connection.close()
            pytest.fail(f"The test left a transaction open on the connection {alias!r}.")


@pytest.fixture
def owner_connection(databases: TestDatabases) -> Iterator[psycopg.Connection]:
    """A connection as the owner of the tables, the login of migrations; autocommit."""
    with psycopg.connect(databases.servers.database_owner_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def second_connection(databases: TestDatabases) -> Iterator[psycopg.Connection]:
    """A second connection with the application's rights, for races; autocommit.

    Open a transaction on it with `with second_connection.transaction():`.
    """
    with psycopg.connect(
        databases.servers.database_url, autocommit=True, options="-c role=florin_app"
    ) as connection:
        yield connection


@pytest.fixture
def superuser_connection(
    databases: TestDatabases, request: pytest.FixtureRequest
) -> Iterator[psycopg.Connection]:
    """A superuser's connection, for attacks that only a superuser can try; autocommit.

    Servers given by DATABASE_URL whose owner is no superuser are replaced, for this connection
    alone, by a private migrated server: write and read through this connection only.
    """
    url = databases.servers.superuser_url or databases.servers.database_owner_url
    with psycopg.connect(url, autocommit=True) as connection:
        if connection.info.parameter_status("is_superuser") == "on":
            yield connection
            return
    private: PrivateServers = request.getfixturevalue("_migrated_private_servers")
    with psycopg.connect(private.servers.superuser_url, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def _migrated_private_servers() -> Iterator[PrivateServers]:
    with migrated_servers() as private:
        yield private


@pytest.fixture(scope="session")
def receiver_port() -> int:
    """The one loopback port to which Florin's webhooks may be sent in tests of this process."""
    return int(os.environ["FLORIN_WEBHOOK_ALLOWED_HOSTS"].rpartition(":")[2])
