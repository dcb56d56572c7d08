"""Applications whose I/O both observers must agree on, each prepared in a fresh directory.

A workload may also know the answer by itself (`account`): what the application reports of its own I/O, or arithmetic.
"""

from __future__ import annotations

import http.client
import json
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import textwrap
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Callable, Dict, List, Optional, Sequence, Tuple

from .compare import Counts
from .observe import Command

Account = Callable[[Path, Counts], List[str]]


@dataclass(frozen=True)
class Workload:
    """An application run: the programs it needs, how to prepare it, and what it says itself."""

    programs: Tuple[str, ...]
    prepare: Callable[[Path], Command]
    account: Optional[Account] = None


def _environment(place: Path) -> Dict[str, str]:
    """No configuration of this machine's user: two hosts do the same."""
    return {"PATH": os.environ["PATH"], "HOME": str(place), "LC_ALL": "C", "GIT_CONFIG_NOSYSTEM": "1"}


def _command(place: Path, *argv: str) -> Command:
    return Command(argv, place, _environment(place))


def _shell(place: Path, script: str) -> Command:
    (place / "run.sh").write_text("set -e\n" + textwrap.dedent(script))
    return _command(place, "sh", str(place / "run.sh"))


def _tree(root: Path, files: int) -> None:
    """`files` files of 0 to 64 KiB in directories of 50, the same on every run."""
    random_ = random.Random(4093)
    for number in range(files):
        path = root / f"d{number // 50:03}" / f"file {number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        size = random_.choice([0, 1, 100, 4095, 4096, 4097, 20000, 65536])
        path.write_bytes(random_.getrandbits(8 * size + 1).to_bytes(size + 1, "little")[:size])


def _cp(place: Path) -> Command:
    _tree(place / "tree", 2000)
    return _command(place, "cp", "-r", "tree", "copy")


def _tar(place: Path) -> Command:
    _tree(place / "tree", 2000)
    return _shell(place, "tar cf tree.tar tree\nmkdir out\ntar xf tree.tar -C out\nmv out/tree out/renamed")


def _git_clone(place: Path) -> Command:
    source = place / "source"
    _tree(source, 300)

    def git(*arguments: str) -> None:
        identity = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "gc.auto=0")
        subprocess.run(["git", *identity, *arguments], cwd=source, env=_environment(place), check=True)

    git("init", "-q", "-b", "main")
    for commit in range(3):
        (source / "d000" / "changing").write_text(str(commit) * 1000)
        git("add", ".")
        git("commit", "-q", "-m", str(commit))
    # No maintenance in the background: it would outlive the command.
    options = ("-c", "gc.auto=0", "-c", "maintenance.auto=false")
    return _command(place, "git", *options, "clone", "-q", f"file://{source}", "clone")


def _git_work(place: Path) -> Command:
    """Commits, branches, merges and a repack: what git writes as X.lock or tmp_*, it reads as X."""
    _tree(place / "work", 60)
    return _shell(
        place,
        """
        cd work
        git() { command git -c user.name=a -c user.email=a@b -c gc.auto=0 -c maintenance.auto=false "$@"; }
        git init -q -b main
        git add . && git commit -q -m first
        for n in 1 2 3 4 5; do
            echo $n > "d000/file $n"; git add .; git commit -q -m $n
            git checkout -q -b side$n; echo side $n > side$n; git add .; git commit -q -m side$n
            git checkout -q main; git merge -q --no-edit side$n; git branch -q -d side$n
        done
        git tag v1; git config some.key value; git stash list; git reset -q --hard HEAD~1
        git repack -q -a -d; git pack-refs --all; git status --short; git log --oneline
        """,
    )


def _rsync(place: Path) -> Command:
    """Three times: everything is new, a few files have changed, and in place. A file is written as .NAME.XXXXXX."""
    _tree(place / "tree", 300)
    return _shell(
        place,
        """
        rsync -a tree/ copy/
        for n in 1 2 3; do echo changed >> "tree/d000/file $n"; done
        rsync -a --checksum --no-whole-file tree/ copy/
        echo again >> "tree/d001/file 51"
        rsync -a --inplace --fsync tree/ copy/ || rsync -a --inplace tree/ copy/
        rm "tree/d002/file 101"
        rsync -a --delete --backup --suffix=.old tree/ copy/
        """,
    )


def _logrotate(place: Path) -> Command:
    """Logs that are renamed under their writers, copied and truncated, or compressed."""
    (place / "logs").mkdir()
    (place / "rotate.conf").write_text(
        textwrap.dedent(
            f"""
            su root root
            {place}/logs/moved.log {{
              rotate 3
              create 0644 root root
            }}
            {place}/logs/copied.log {{
              rotate 3
              copytruncate
            }}
            {place}/logs/packed.log {{
              rotate 3
              compress
              create 0644 root root
            }}
            """
        )
    )
    (place / "rotate.conf").chmod(0o644)
    return _shell(
        place,
        """
        exec 3>> logs/moved.log 4>> logs/copied.log
        for n in 1 2 3 4 5; do
            seq $n 1000 >&3; seq $n 1000 >&4; seq $n 2000 >> logs/packed.log
            PATH=$PATH:/usr/sbin logrotate -f -s status rotate.conf
            if test $n = 3; then exec 3>> logs/moved.log; fi
        done
        echo last >&3; echo last >&4
        """,
    )


def _sqlite(place: Path, journal: str) -> Command:
    lines = [f"PRAGMA journal_mode={journal};", "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT);"]
    lines += [f"BEGIN; INSERT INTO t VALUES({n}, hex(randomblob({n % 300}))); COMMIT;" for n in range(1000)]
    (place / "script.sql").write_text("\n".join(lines) + "\n")
    return _command(place, "sqlite3", "data.db", ".read script.sql")


def _dd(place: Path) -> Command:
    return _shell(
        place,
        """
        dd if=/dev/zero of=synced bs=64k count=100 conv=fsync
        dd if=/dev/zero of=durable bs=4k count=50 oflag=dsync
        dd if=synced of=data bs=3000 count=1000 conv=fdatasync
        dd if=data of=/dev/null bs=1M
        dd if=synced of=data bs=1k count=23 seek=100 conv=notrunc oflag=append
        """,
    )


def _dd_account(place: Path, counts: Counts) -> List[str]:
    expected = {
        ("synced", "write"): (100, 100 * 65536),
        ("synced", "fsync"): (1, 0),
        ("durable", "write"): (50, 50 * 4096),
        ("synced", "read"): (1000 + 23, 3000 * 1000 + 23 * 1024),
        ("data", "write"): (1000 + 23, 3000 * 1000 + 23 * 1024),
        ("data", "fdatasync"): (1, 0),
        ("data", "read"): (3 + 1, 3000 * 1000),  # the last one short, then the end of the file
    }
    return _differences(place, counts, expected)


def _differences(place: Path, counts: Counts, expected: Dict[Tuple[str, str], Tuple[int, int]]) -> List[str]:
    found = {(name, key): counts(bytes(place / name), key) for name, key in expected}
    return [
        f"{name}: {key}: expected (calls, bytes) {expected[name, key]}, counted {found[name, key]}"
        for name, key in expected
        if found[name, key] != expected[name, key]
    ]


def _compileall(place: Path) -> Command:
    library = Path(sysconfig.get_paths()["stdlib"])
    for package in ("json", "email", "xml", "logging", "unittest"):
        shutil.copytree(library / package, place / "src" / package, ignore=shutil.ignore_patterns("__pycache__"))
    return _command(place, sys.executable, "-I", "-m", "compileall", "-q", "-j", "2", "src")


# --- nginx ------------------------------------------------------------------------------------------------------------

NGINX_SIZES = (0, 1, 777, 4096, 70000, 300000)
NGINX_REQUESTS = 1000


def _nginx(place: Path, sendfile: str) -> Command:
    (place / "html").mkdir()
    for size in NGINX_SIZES:
        (place / "html" / f"{size}.bin").write_bytes(bytes(size))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (place / "nginx.conf").write_text(
        textwrap.dedent(
            f"""
            daemon off; worker_processes 2; user root; pid {place}/nginx.pid; error_log {place}/error.log;
            events {{ worker_connections 64; }}
            http {{
              sendfile {sendfile}; access_log {place}/access.log;
              client_body_temp_path {place}/body; proxy_temp_path {place}/proxy; fastcgi_temp_path {place}/fastcgi;
              uwsgi_temp_path {place}/uwsgi; scgi_temp_path {place}/scgi;
              server {{ listen 127.0.0.1:{port}; root {place}/html; }}
            }}
            """
        )
    )
    argv = ("nginx", "-p", str(place), "-c", str(place / "nginx.conf"))
    return Command(argv, place, _environment(place), partial(_requests, port))


def _requests(port: int, server: int) -> None:
    """1,000 requests over four connections, then a graceful stop."""
    deadline = time.monotonic() + 60
    connections = [http.client.HTTPConnection("127.0.0.1", port, timeout=60) for _ in range(4)]
    for connection in connections:
        while True:
            try:
                connection.connect()
                break
            except ConnectionRefusedError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
    for number in range(NGINX_REQUESTS):
        connection = connections[number % len(connections)]
        size = NGINX_SIZES[number % len(NGINX_SIZES)]
        connection.request("GET", f"/{size}.bin")
        if len(connection.getresponse().read()) != size:
            raise RuntimeError(f"nginx served {size}.bin wrongly")
    for connection in connections:
        connection.close()
    os.kill(server, signal.SIGQUIT)


def _nginx_account(place: Path, counts: Counts) -> List[str]:
    lines = []
    for index, size in enumerate(NGINX_SIZES):
        path = bytes(place / "html" / f"{size}.bin")
        served = size * len(range(index, NGINX_REQUESTS, len(NGINX_SIZES)))
        counted = sum(counts(path, key)[1] for key in ("sendfile_read", "pread64"))
        if counted != served:
            lines.append(f"{size}.bin: nginx served {served} bytes, counted {counted}")
    if counts(bytes(place / "access.log"), "write")[0] != NGINX_REQUESTS:
        lines.append(f"access.log: {NGINX_REQUESTS} requests, {counts(bytes(place / 'access.log'), 'write')[0]} writes")
    return lines


# --- PostgreSQL -------------------------------------------------------------------------------------------------------


def postgres_bin() -> Optional[Path]:
    """The directory of PostgreSQL's programs: on PATH, or where Debian puts them."""
    found = shutil.which("postgres")
    candidates = [Path(found).resolve().parent] if found else []
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((path for path in candidates if (path / "pgbench").exists() and (path / "postgres").exists()), None)


def _postgresql(place: Path) -> Command:
    user = pwd.getpwnam("nobody")  # PostgreSQL refuses to run as root
    os.chown(place, user.pw_uid, user.pw_gid)
    script = f"""
        PATH={postgres_bin()}:$PATH
        initdb -D data -A trust -U bench
        postgres -D data -c listen_addresses= -c unix_socket_directories={place} -c max_connections=20 &
        server=$!
        until pg_isready -q -h {place} -U bench -d postgres; do sleep 0.1; done
        pgbench -h {place} -U bench -i -q postgres
        pgbench -h {place} -U bench -c 4 -j 2 -t 25 -n postgres
        kill -INT $server
        wait $server
    """
    shell = _shell(place, script)
    identity = ("--reuid", str(user.pw_uid), "--regid", str(user.pw_gid), "--clear-groups")
    return _command(place, "setpriv", *identity, *shell.argv)


# --- fio --------------------------------------------------------------------------------------------------------------

# Engine -> the system calls it reads and writes with.
FIO_ENGINES = {
    "sync": ("read", "write"),
    "psync": ("pread64", "pwrite64"),
    "vsync": ("readv", "writev"),
    "pvsync2": ("preadv2", "pwritev2"),
}
_FIO_JOBS = (("reads", "randread", ""), ("writes", "write", "fsync=7"), ("mixed", "randrw", "fdatasync=5"))


def _fio(place: Path) -> Command:
    lines = ["[global]", f"directory={place}", "size=2m", "bssplit=512/20:4k/40:16k/20:60k/20", "iodepth=1"]
    for engine in FIO_ENGINES:
        for name, pattern, sync in _FIO_JOBS:
            data = place / f"{engine}-{name}"
            data.write_bytes(os.urandom(2 << 20))  # otherwise fio lays the file out, and counts none of that
            lines += [
                f"[{data.name}]",
                f"ioengine={engine}",
                f"rw={pattern}",
                f"filename={data.name}",
                sync,
                "stonewall",
            ]
    (place / "jobs.fio").write_text("\n".join(lines) + "\n")
    return _command(place, "fio", "--output-format=json", "--output=fio.json", "jobs.fio")


def _fio_account(place: Path, counts: Counts) -> List[str]:
    report = json.loads((place / "fio.json").read_text())
    expected: Dict[Tuple[str, str], Tuple[int, int]] = {}
    for job in report["jobs"]:
        name = job["jobname"]
        for direction, key in zip(("read", "write"), FIO_ENGINES[name.partition("-")[0]]):
            expected[name, key] = (job[direction]["total_ios"], job[direction]["io_bytes"])
        if name.endswith("-writes"):  # fio reports its fsyncs, but not its fdatasyncs
            expected[name, "fsync"] = (job["sync"]["total_ios"], 0)
    return _differences(place, counts, expected)


WORKLOADS: Dict[str, Workload] = {
    "cp": Workload(("cp",), _cp),
    "tar": Workload(("tar",), _tar),
    "git-clone": Workload(("git",), _git_clone),
    "git-work": Workload(("git",), _git_work),
    "rsync": Workload(("rsync",), _rsync),
    "logrotate": Workload(("logrotate", "gzip"), _logrotate),
    "sqlite-journal": Workload(("sqlite3",), partial(_sqlite, journal="delete")),
    "sqlite-wal": Workload(("sqlite3",), partial(_sqlite, journal="wal")),
    "dd": Workload(("dd",), _dd, _dd_account),
    "compileall": Workload((), _compileall),
    "nginx-sendfile": Workload(("nginx",), partial(_nginx, sendfile="on"), _nginx_account),
    "nginx-read": Workload(("nginx",), partial(_nginx, sendfile="off"), _nginx_account),
    "postgresql": Workload(("setpriv",), _postgresql),
    "fio": Workload(("fio",), _fio, _fio_account),
}


_PATH = os.environ.get("PATH", "") + ":/usr/sbin"


def missing(name: str) -> Sequence[str]:
    """The programs the workload needs and this machine has not."""
    absent = [program for program in WORKLOADS[name].programs if shutil.which(program, path=_PATH) is None]
    if name == "postgresql" and postgres_bin() is None:
        absent.append("postgresql")
    return absent
