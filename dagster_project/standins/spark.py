"""A real Spark cluster on 127.0.0.1, from PySpark's own wheel: a master, workers and a Connect server. For tests and measuring.

Each of its processes ends with the one that started it, whatever ends that.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)
_SECONDS = 300
# Short-lived JVMs on few cores: collecting with one thread and compiling once saves 40 % of their CPU.
_JVM = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xss4m"


def missing() -> str | None:
    """Why no cluster can be started here; None where one can be."""
    for module in ("pyspark", "grpc_status", "pandas"):
        if importlib.util.find_spec(module) is None:
            return f"the extra `spark` is not installed (no module {module}): `make test-spark` installs it"
    if shutil.which("java") is None:
        return "there is no Java on this machine (Debian: apt-get install openjdk-17-jre-headless)"
    return None


def _with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _free_port() -> int:
    with closing(socket.socket()) as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def _stat(pid: int) -> list[str]:
    """The fields of /proc/…/stat behind the command."""
    return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()


def _children() -> dict[int, list[int]]:
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            children.setdefault(int(_stat(int(folder.name))[1]), []).append(int(folder.name))
    return children


class Cluster:
    """A context in which a cluster runs. To be started from the main thread: its processes end with the thread."""

    def __init__(self, folder: Path, workers: int = 2) -> None:
        self._folder, self._count = folder, workers
        self._processes: list[tuple[str, subprocess.Popen[bytes]]] = []
        self.remote = ""

    def __enter__(self) -> Cluster:
        try:
            self._start()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def _start(self) -> None:
        master, connect = _free_port(), _free_port()
        url = f"spark://127.0.0.1:{master}"
        self._run(
            "master",
            "org.apache.spark.deploy.master.Master",
            *("--host", "127.0.0.1", "--port", str(master), "--webui-port", "0"),
        )
        self._await_port(master)
        self._url = url
        for _ in range(self._count):
            self.start_worker()
        options = {
            "spark.connect.grpc.binding.address": "127.0.0.1",
            "spark.connect.grpc.binding.port": str(connect),
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.executor.memory": "800m",
            "spark.executor.cores": "1",
            "spark.ui.enabled": "false",
            "spark.sql.shuffle.partitions": "2",
            "spark.local.dir": str(self._folder / "local"),
            "spark.sql.artifact.isolation.enabled": "true",
        }
        self._run(
            "connect",
            "org.apache.spark.deploy.SparkSubmit",
            *("--master", url, "--class", "org.apache.spark.sql.connect.service.SparkConnectServer"),
            *(word for name, of in options.items() for word in ("--conf", f"{name}={of}")),
            "spark-internal",
        )
        self._await_port(connect)
        self.remote = f"sc://127.0.0.1:{connect}"

    def start_worker(self) -> None:
        """Another worker, of one core."""
        number = sum(name.startswith("worker") for name, _ in self._processes)
        self._run(
            f"worker-{number}",
            "org.apache.spark.deploy.worker.Worker",
            *("--host", "127.0.0.1", "--cores", "1", "--memory", "2g", "--webui-port", "0"),
            *("--work-dir", str(self._folder / f"work-{number}"), self._url),
        )

    def kill_worker(self) -> None:
        """Kill a worker and all that it started."""
        process = next(p for name, p in self._processes if name.startswith("worker") and p.poll() is None)
        children, waiting = _children(), [process.pid]
        while waiting:
            pid = waiting.pop()
            waiting += children.get(pid, [])
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        process.wait(timeout=10)

    def _run(self, name: str, *command: str) -> None:
        import pyspark

        home = Path(pyspark.__file__).parent
        given = {
            "SPARK_HOME": str(home),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_NO_DAEMONIZE": "1",
            "SPARK_DAEMON_MEMORY": "512m",
            "JDK_JAVA_OPTIONS": _JVM,
            "PYSPARK_PYTHON": sys.executable,
        }
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [
                    "env",
                    *(f"{name}={of}" for name, of in given.items()),
                    str(home / "bin/spark-class"),
                    *command,
                ],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=_with_parent,
            )
        self._processes.append((name, process))

    def _await_port(self, port: int) -> None:
        deadline = time.monotonic() + _SECONDS
        while time.monotonic() < deadline:
            for name, process in self._processes:
                if process.poll() is not None:
                    raise RuntimeError(f"{name} ended: {self.log(name)[-3000:]}")
            with suppress(OSError), closing(socket.create_connection(("127.0.0.1", port), 1)):
                return
            time.sleep(0.2)
        raise RuntimeError(
            f"nothing listens on port {port} after {_SECONDS} s: {self.log('connect')[-3000:]}"
        )

    def processes(self, word: str = "") -> list[int]:
        """The numbers of its processes, and of theirs: those that have a word in their command line."""
        found, children = [], _children()
        waiting = [process.pid for _, process in self._processes]
        while waiting:
            pid = waiting.pop()
            waiting += children.get(pid, [])
            with suppress(OSError):
                if word in Path(f"/proc/{pid}/cmdline").read_text(errors="replace"):
                    found.append(pid)
        return found

    def cpu_seconds(self) -> float:
        """What all of them have used so far."""
        ticks = 0
        for pid in self.processes():
            with suppress(OSError):
                # Its own time, and that of its children which have ended.
                ticks += sum(map(int, _stat(pid)[11:15]))
        return ticks / os.sysconf("SC_CLK_TCK")

    def log(self, name: str) -> str:
        return (self._folder / f"{name}.log").read_text(errors="replace")

    def end(self) -> None:
        for _, process in reversed(self._processes):
            process.kill()
        for _, process in self._processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=10)
        self._processes = []
