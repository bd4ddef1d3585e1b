"""The `warehouse` command as a process of its own that need not import what each of them imports.

Most of a short command is Python's imports, Dagster's above all. A server that has them forks a process for each command: with
the arguments, the environment, the folder and the pipes that `subprocess` would give it, and killed, waited for and read from
in the same way. What reads the environment while it is imported (`dagster_project.definitions`) each imports itself.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any

from dagster_project.settings import project_root

_LONGEST = 100_000  # bytes of a request: arguments and environment


class Forked:
    """A process of the command, with what of `subprocess.Popen` the tests use."""

    def __init__(
        self, arguments: Sequence[str], environment: Mapping[str, str], *, stdin: bool = False
    ) -> None:
        self.args, self.returncode = ["warehouse", *arguments], None
        self._ended, says_ended = os.pipe()
        (read_out, out), (read_err, err) = os.pipe(), os.pipe()
        given, write_in = os.pipe() if stdin else (os.open(os.devnull, os.O_RDONLY), None)
        self.stdin: IO[str] | None = os.fdopen(write_in, "w") if write_in is not None else None
        self.stdout: IO[str] = os.fdopen(read_out, encoding="utf-8", errors="replace")
        self.stderr: IO[str] = os.fdopen(read_err, encoding="utf-8", errors="replace")
        self.returncode: int | None = None
        request = {"arguments": list(arguments), "environment": dict(environment)}
        try:
            self.pid = _server().fork(request, (given, out, err, says_ended))
        finally:
            for descriptor in (given, out, err, says_ended):
                os.close(descriptor)

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            with selectors.DefaultSelector() as selector:
                selector.register(self._ended, selectors.EVENT_READ)
                if not selector.select(timeout):
                    raise subprocess.TimeoutExpired(self.args, timeout or 0)
            said = os.read(self._ended, 100)
            os.close(self._ended)
            assert said, "the server of processes is gone"
            self.returncode = int(said)
        return self.returncode

    def communicate(self, input: str | None = None, timeout: float | None = None) -> tuple[str, str]:
        """What it said until its end. It is left as it is where it takes longer than the timeout."""
        if self.stdin is not None and not self.stdin.closed:
            with contextlib.suppress(BrokenPipeError):
                self.stdin.write(input or "")
                self.stdin.close()
        deadline = None if timeout is None else time.monotonic() + timeout
        said: dict[IO[str], str] = {}
        readers = [
            threading.Thread(target=lambda pipe=pipe: said.update({pipe: pipe.read()}), daemon=True)
            for pipe in (self.stdout, self.stderr)
        ]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(None if deadline is None else max(0, deadline - time.monotonic()))
            if reader.is_alive():
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
        self.wait(None if deadline is None else max(0.1, deadline - time.monotonic()))
        for pipe in (self.stdout, self.stderr):
            pipe.close()
        return said[self.stdout], said[self.stderr]

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class _Server:
    """The process that forks. It ends with this one."""

    def __init__(self) -> None:
        self.ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        kept = {
            name: v
            for name, v in os.environ.items()
            if not name.startswith(("WAREHOUSE_", "DAGSTER_", "HUBSPOT_"))
        }
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__)), str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env={**kept, "PYTHONPATH": str(project_root())},
            cwd=project_root(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        theirs.close()
        self.ours.settimeout(240)  # the first answer waits for its imports

    def fork(self, request: Mapping[str, Any], descriptors: Sequence[int]) -> int:
        socket.send_fds(self.ours, [json.dumps(request).encode()], list(descriptors))
        answer = self.ours.recv(100)
        assert answer, "the server of processes is gone"
        return int(answer)

    def stop(self) -> None:
        self.ours.close()
        self.process.wait(30)


@cache
def _server() -> _Server:
    server = _Server()
    atexit.register(server.stop)
    return server


def _serve(ours: socket.socket) -> None:
    """Fork for each request, and say of each process how it ended. Returns in the processes that are forked."""
    ended: dict[int, int] = {}
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(woken, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    with selectors.DefaultSelector() as selector:
        selector.register(ours, selectors.EVENT_READ)
        selector.register(woken, selectors.EVENT_READ)
        while True:
            ready = {key.fd for key, _ in selector.select()}
            if woken in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(woken, 4096)
                _reap(ended)
            if ours.fileno() not in ready:
                continue
            text, descriptors, _, _ = socket.recv_fds(ours, _LONGEST, 4)
            if not text:
                os._exit(0)
            pid = os.fork()
            if not pid:
                break
            ended[pid] = descriptors[3]
            for descriptor in descriptors[:3]:
                os.close(descriptor)
            ours.send(str(pid).encode())
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for descriptor in (woken, wake, *ended.values(), descriptors[3]):
        os.close(descriptor)
    ours.close()
    _become(json.loads(text), descriptors[:3])


def _reap(ended: dict[int, int]) -> None:
    while ended:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        with contextlib.suppress(BrokenPipeError):  # nobody wants to know
            os.write(ended[pid], str(os.waitstatus_to_exitcode(status)).encode())
        os.close(ended.pop(pid))


def _become(request: Mapping[str, Any], descriptors: Sequence[int]) -> None:
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr
    # At the very end DuckDB's binding names what the garbage collector was told to leave alone.
    atexit.register(lambda: os.dup2(os.open(os.devnull, os.O_WRONLY), 2))
    sys.argv = ["warehouse", *request["arguments"]]
    from dagster_project.cli import main

    main(prog_name="warehouse")


def _import() -> None:
    import tempfile

    import dagster as dg
    import duckdb
    import pyarrow
    import sqlglot

    import dagster_project.cli
    import dagster_project.cli.status
    import dagster_project.cli.summary
    import dagster_project.destinations.hubspot
    import dagster_project.models.cohorts
    import dagster_project.pipeline.erase
    import dagster_project.pipeline.nightly
    import dagster_project.warehouse.lineage
    import dagster_project.warehouse.publish

    with tempfile.TemporaryDirectory() as folder, dg.DagsterInstance.local_temp(folder):
        pass  # imports what keeps runs and events
    del duckdb, pyarrow, sqlglot, dagster_project
    gc.collect()
    gc.freeze()  # or the first collection of each process copies it all


if __name__ == "__main__":
    _import()
    _serve(socket.socket(fileno=int(sys.argv[1])))
