"""A MariaDB server of the test's own, in a directory, reached by a socket there; and its own account of its I/O.

InnoDB reads ahead and writes its pages by io_uring or Linux AIO, reads single pages by pread64, and writes its log by
pwrite64. The performance schema counts the requests and bytes of every file of InnoDB's where they are made, and
information_schema.GLOBAL_STATUS sums up those on data files.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple, Optional, Tuple

# innodb_linux_aio -> what the server logs when it uses that.
IMPLEMENTATIONS = {"io_uring": "Using io_uring", "aio": "Using Linux native AIO"}

PROGRAMS = ("mariadbd", "mariadb", "mariadb-install-db", "cp")

_POOL = ("--innodb-buffer-pool-size=6M", "--innodb-log-file-size=8M")  # small, so that pages are read again and again
_QUIET = ("--innodb-stats-auto-recalc=0", "--aria-checkpoint-interval=0")  # nothing happens later in the background
_PERIOD = 1.5  # longer than the period of InnoDB's master thread, a second


class Traffic(NamedTuple):
    """Reads, bytes read, writes, bytes written, and all other operations (opens, closes, and syncs) on a file."""

    reads: int
    read: int
    writes: int
    written: int
    others: int


@dataclass(frozen=True)
class Account:
    """What the server says it did since it was started: per file of InnoDB's, and its status variables."""

    files: Dict[bytes, Traffic]
    status: Dict[str, int]

    def since(self, before: Account) -> Account:
        """What it did between two accounts. The files are those of now; one that is new counts from zero."""
        nothing = Traffic(0, 0, 0, 0, 0)
        files = {
            path: Traffic(*(now - then for now, then in zip(traffic, before.files.get(path, nothing))))
            for path, traffic in self.files.items()
        }
        return Account(files, {name: value - before.status[name] for name, value in self.status.items()})


def install(place: Path) -> Path:
    """Make an empty database, to be copied for each server."""
    data = place / "template"
    options = ["--no-defaults", f"--datadir={data}", "--user=nobody", "--skip-test-db", "--skip-name-resolve"]
    subprocess.run(
        ["mariadb-install-db", *options, "--auth-root-authentication-method=normal", *_POOL],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return data


class Server:
    """A server in `place` with a copy of the database `template`; whoever wants it running runs `argv`."""

    def __init__(self, place: Path, template: Path, implementation: str) -> None:
        self.data = place / "data"
        self.implementation = implementation
        self._socket = place / "socket"
        self._log = place / "log.err"
        subprocess.run(["cp", "-a", str(template), str(self.data)], check=True)
        shutil.chown(place, "nobody")
        self.argv = [
            "mariadbd",
            "--no-defaults",
            "--user=nobody",
            f"--datadir={self.data}",
            f"--socket={self._socket}",
            f"--pid-file={place / 'pid'}",
            f"--log-error={self._log}",
            "--skip-networking",
            "--performance-schema=on",
            "--innodb-flush-method=O_DIRECT",
            f"--loose-innodb-linux-aio={implementation}",
            *_POOL,
            *_QUIET,
        ]

    def _client(self) -> List[str]:
        return ["mariadb", "--no-defaults", f"--socket={self._socket}", "--user=root", "--batch", "--skip-column-names"]

    def query(self, sql: str) -> List[Tuple[str, ...]]:
        out = subprocess.run([*self._client(), "-e", sql], stdout=subprocess.PIPE, check=True, text=True)
        return [tuple(line.split("\t")) for line in out.stdout.splitlines()]

    def together(self, scripts: List[str]) -> None:
        """Run the scripts at the same time, each on a connection of its own."""
        clients = [subprocess.Popen([*self._client(), "-e", sql], stdout=subprocess.DEVNULL) for sql in scripts]
        assert [client.wait() for client in clients] == [0] * len(clients)

    def _answers(self) -> bool:
        return subprocess.run([*self._client(), "-e", "SELECT 1"], capture_output=True, check=False).returncode == 0

    def wait(self) -> Optional[str]:
        """Wait until the server answers; why its InnoDB does not work as it should, if it does not."""
        _until("the server answers", self._answers)
        log = self._log.read_text(errors="replace")
        if IMPLEMENTATIONS[self.implementation] in log:
            return None
        return "this MariaDB does not use " + self.implementation + " here"

    def account(self) -> Account:
        files = self.query(
            "SELECT HEX(file_name), count_read, sum_number_of_bytes_read, count_write, sum_number_of_bytes_write,"
            " count_misc FROM performance_schema.file_summary_by_instance"
            " WHERE event_name = 'wait/io/file/innodb/innodb_data_file'"
        )
        status = self.query(
            "SELECT variable_name, variable_value FROM information_schema.global_status WHERE variable_name IN"
            " ('innodb_data_reads', 'innodb_data_read', 'innodb_data_writes', 'innodb_data_written',"
            " 'innodb_data_fsyncs', 'innodb_os_log_written', 'innodb_buffer_pool_pages_dirty')"
        )
        return Account(
            {bytes.fromhex(row[0]): Traffic(*map(int, row[1:])) for row in files},
            {name.lower(): int(value) for name, value in status},
        )

    def settled(self) -> Account:
        """Have all pages written, and wait until the server does nothing more of itself; its account then."""
        self.query("SET GLOBAL innodb_max_dirty_pages_pct = 0, GLOBAL innodb_max_dirty_pages_pct_lwm = 0")
        _until("all pages are written", lambda: self.account().status["innodb_buffer_pool_pages_dirty"] == 0)
        account = self.account()
        for _ in range(40):
            time.sleep(_PERIOD)
            before, account = account, self.account()
            if account == before:
                return account
        raise TimeoutError("the server does not come to rest")


def _until(what: str, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"it did not come about that {what}")
        time.sleep(0.05)
