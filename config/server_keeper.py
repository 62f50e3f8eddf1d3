"""The keeper process: parent of the embedded servers of one data folder (see config/embedded.py).

`python -m config.server_keeper DATA_DIR`; started by `ensure_servers`, never by hand.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from types import FrameType

from config.embedded import keep_servers
from config.server_process import ServerFailed, write_private_file


def _leave(signal_number: int, frame: FrameType | None) -> None:
    raise SystemExit(0)


def main(data_dir: Path) -> None:
    """Keep the servers; what prevents that is written where those who wait for them look."""
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C is the user's, not ours
    try:
        keep_servers(data_dir)
    except ServerFailed as failure:
        write_private_file(data_dir / "servers.error", str(failure))
        raise SystemExit(1) from None


if __name__ == "__main__":
    main(Path(sys.argv[1]))
