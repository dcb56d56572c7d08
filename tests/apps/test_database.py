"""A database that reads and writes its pages by io_uring or Linux AIO, held against its own account of every file."""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Sequence

import pytest

from tests import needs

from . import mariadb, observe
from .mariadb import Account, Server, Traffic
from .observe import Command, Document, Run, path_of

pytestmark = [needs.root, needs.programs(*mariadb.PROGRAMS)]

# innodb_linux_aio -> the requests by which pages are read ahead, and written.
REQUESTS = {"io_uring": ("uring_readv", "uring_writev"), "aio": ("aio_pread", "aio_pwrite")}
LOG_BLOCK = 4096
PAGE = 16384
LARGEST = 64 * PAGE  # bytes of one write: the pages of an extent

# Rows of 660 bytes, more than the server keeps in memory, changed here and there and read whole.
TABLE = """
    CREATE TABLE {name} (id INT PRIMARY KEY AUTO_INCREMENT, text VARCHAR(1000)) ENGINE=InnoDB;
    INSERT INTO {name} (text) SELECT REPEAT(MD5(RAND()), 20) FROM seq_1_to_6000;
    UPDATE {name} SET text = REPEAT(MD5(RAND()), 25) WHERE RAND() < 0.1;
    DELETE FROM {name} WHERE id % 5 = 0;
    SELECT SUM(LENGTH(text)) FROM {name};
"""


def fill(server: Server, names: Sequence[str]) -> None:
    """Make tables, all at the same time."""
    server.together(["USE work;" + TABLE.format(name=name) for name in names])


@pytest.fixture(scope="module")
def template() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="database-", dir=observe.DISK) as directory:
        Path(directory).chmod(0o755)  # the server runs as another user
        yield mariadb.install(Path(directory))


@pytest.fixture(params=sorted(REQUESTS))
def server(request: pytest.FixtureRequest, template: Path) -> Iterator[Server]:
    if request.param == "io_uring" and os.environ.get("PRETEND_KERNEL"):
        needs.impossible("that kernel shows nothing of io_uring")
    with tempfile.TemporaryDirectory(prefix="database-", dir=observe.DISK) as directory:
        Path(directory).chmod(0o755)
        yield Server(Path(directory), template, str(request.param))


def need(server: Server) -> None:
    """Wait for the server; skip the test where it cannot do its I/O as it was told to."""
    reason = server.wait()
    if reason is not None:
        needs.impossible(reason)


def calls(file: Mapping[str, Any], *kinds: str) -> int:
    return sum(file["syscalls"].get(kind, {"calls": 0})["calls"] for kind in kinds)


def syncs(file: Mapping[str, Any]) -> int:
    return calls(file, "fsync", "fdatasync")


def traffic(server: Server, file: Mapping[str, Any]) -> Traffic:
    """What iotrace counted on a file of pages, in the server's terms; neither knows of any failure."""
    read, write = REQUESTS[server.implementation]
    assert not any(call["errors"] for call in file["syscalls"].values())
    others = file["opens"] + file["closes"] + syncs(file)
    found = Traffic(calls(file, "pread64", read), file["bytes_read"], calls(file, write), file["bytes_written"], others)
    assert found.reads + found.writes + others == sum(call["calls"] for call in file["syscalls"].values())
    return found


def tablespaces(server: Server, document: Document) -> Dict[bytes, Dict[str, Any]]:
    """The files that hold pages, by their last names: a table that is rebuilt is a new file, renamed in the end.

    The one that it takes the place of has no name any more, and the server has no account of it.
    """
    found: Dict[bytes, Dict[str, Any]] = {}
    for file in document["files"]:
        path = Path(file["renamed_to"] or file["path"])
        if server.data in path.parents and (path.suffix == ".ibd" or path.name in ("ibdata1", "ibtmp1")):
            gone = file["renamed_to"] is None and file["state"] == "replaced"
            name = bytes(path) + b" (replaced)" * gone
            assert name not in found
            found[name] = file
    return found


def agree(ours: Traffic, theirs: Traffic) -> bool:
    """Whether a file's figures agree.

    The performance schema adds to each figure by itself and without a lock: where two threads add at once, an operation
    may be missing from one figure (434 reads of 435 pages), and none is ever too many. The status variables' totals are
    exact, and so is the sum over all files that is held against them.
    """
    few = 1 + max(theirs.reads, theirs.writes) // 1000
    most = Traffic(few, few * LARGEST, few, few * LARGEST, few)
    return all(0 <= our - their <= bound for our, their, bound in zip(ours, theirs, most))


def check(server: Server, document: Document, account: Account) -> None:
    """Every file that is still there, all files together with those that are gone, and the log.

    Before 5.3 no program can loop, and one io_getevents may bring more events than are accounted for: then they must
    be told.
    """
    files = tablespaces(server, document)
    ours = {path: traffic(server, file) for path, file in files.items()}
    if server.implementation == "aio" and observe.kernel() < (5, 3):
        requests = account.status["innodb_data_reads"] + account.status["innodb_data_writes"]
        assert sum(file.reads + file.writes for file in ours.values()) + observe.admitted(document) == requests
        return
    assert not any(document["lost"].values()), document["lost"]
    assert "seen to complete" not in document["coverage"][server.implementation]
    for path, theirs in account.files.items():
        if any(theirs):
            assert agree(ours[path], theirs), (path, ours[path], theirs)

    status = account.status
    totals = Traffic(*(sum(column) for column in zip(*ours.values())))
    assert totals.reads == status["innodb_data_reads"]
    assert (totals.writes, totals.written) == (status["innodb_data_writes"], status["innodb_data_written"])
    (log,) = (file for file in document["files"] if path_of(file) == bytes(server.data / "ib_logfile0"))
    assert sum(syncs(file) for file in [log, *files.values()]) == status["innodb_data_fsyncs"]
    # The server counts the bytes of its log, and writes the blocks that they are in.
    padding = log["bytes_written"] - status["innodb_os_log_written"]
    assert 0 <= padding < 2 * LOG_BLOCK * calls(log, "pwrite64")

    # What was compared is asynchronous for the most part.
    read, write = REQUESTS[server.implementation]
    assert sum(calls(file, read) for file in files.values()) > 500
    assert sum(calls(file, write) for file in files.values()) == totals.writes > 500


def test_from_its_first_call_to_its_last(server: Server) -> None:
    """Killed while it rests: an orderly end does more I/O, after the last account that can be had."""
    accounts: List[Account] = []

    def attend(pid: int) -> None:
        need(server)
        server.query("CREATE DATABASE work")
        fill(server, "abc")
        accounts.append(server.settled())
        os.kill(pid, signal.SIGKILL)

    found = observe.alone(Command(server.argv, server.data.parent, during=attend))
    assert found.status == 128 + signal.SIGKILL, found.stderr
    (account,) = accounts
    check(server, found.document, account)
    assert tablespaces(server, found.document).keys() == account.files.keys()


def test_by_name_between_two_accounts(server: Server) -> None:
    """A running server, by the other kind of tracepoints; tables are rebuilt, renamed and dropped meanwhile."""
    with Run() as run:
        process = run.start("server", server.argv)
        need(server)
        server.query("CREATE DATABASE work")
        fill(server, "a")
        server.settled()
        switch = run.gate()
        options = ["-o", str(run.profile), "--comm", "mariadbd", "--attach", "perf"]
        tool = run.start("iotrace", observe.iotrace("run", *options, "--", switch))
        waiting = run.stopped_gate(switch, tool, "iotrace")
        before = server.account()
        fill(server, "bc")
        server.query("USE work; SELECT COUNT(text) FROM a; DROP TABLE a; ALTER TABLE b FORCE; RENAME TABLE c TO d")
        account = server.settled().since(before)
        os.kill(waiting, signal.SIGCONT)
        assert run.finish(tool, "iotrace") == 0, run.said("iotrace")
        process.kill()
        document = observe.export(run.profile)
    check(server, document, account)
    if not observe.admitted(document):
        files = tablespaces(server, document).values()
        uncounted = sum(file["bytes_read"] for file in files) - account.status["innodb_data_read"]
        # Opening a tablespace for the first time reads its first page, which is among the reads but not in their bytes
        # (fil_node_t::read_page0, storage/innobase/fil/fil0fil.cc).
        assert uncounted in range(0, PAGE * sum(file["opens"] for file in files) + 1, PAGE)
