"""`python -m tests.stripe_stand_in --port N`: serve until told to stop."""

from __future__ import annotations

import argparse
from http.server import ThreadingHTTPServer

from tests.stripe_stand_in.server import Handler


class Server(ThreadingHTTPServer):
    """Many connections may knock at once."""

    daemon_threads = True
    request_queue_size = 128


def main() -> None:
    """Parse the port and serve."""
    parser = argparse.ArgumentParser(prog="python -m tests.stripe_stand_in")
    parser.add_argument("--port", type=int, required=True)
    Server(("127.0.0.1", parser.parse_args().port), Handler).serve_forever()


if __name__ == "__main__":
    main()
