"""Programs that run beside each other, with what they print."""

from __future__ import annotations

import argparse
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

PATIENCE = 60.0
"""Seconds after which something that should happen at once has failed."""


class Failure(Exception):
    """Something did not happen. Its text says what, for people."""


class Program:
    """A running program, and the lines it has printed (of both outputs)."""

    def __init__(
        self, name: str, command: Sequence[str], cwd: Path, env: Mapping[str, str], fd: int | None
    ) -> None:
        self.name = name
        self.echo = False
        self._lines: list[str] = []
        self._more = threading.Condition()
        self._ended = False
        self._process = subprocess.Popen(
            command,
            cwd=cwd,
            env=env,
            pass_fds=[] if fd is None else [fd],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C is for the demo, which stops all in their order
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Waits for a line that has ``pattern`` in it. Raises ``Failure`` if none comes."""
        wanted, end, seen = re.compile(pattern), time.monotonic() + PATIENCE, 0
        with self._more:
            while True:
                for line in self._lines[seen:]:
                    if match := wanted.search(line):
                        return match
                seen = len(self._lines)
                left = end - time.monotonic()
                if self._ended or left <= 0:
                    what = "has ended" if self._ended else f"was silent for {PATIENCE:g} s"
                    raise Failure(f"{self.name} {what}, and should have printed {pattern!r}")
                self._more.wait(left)

    def tail(self, lines: int = 30) -> str:
        """The last lines it has printed."""
        with self._more:
            return "\n".join(self._lines[-lines:])

    def stop(self) -> None:
        """Ends it, and waits until it has ended."""
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(5)

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as output:
            for line in output:
                with self._more:
                    self._lines.append(line.rstrip())
                    self._more.notify_all()
                if self.echo:
                    print(f"   {self.name}: {line}", end="", flush=True)
        with self._more:
            self._ended = True
            self._more.notify_all()


class Programs:
    """Starts programs; at its end it stops them, the last one first."""

    def __init__(self) -> None:
        self._all: list[Program] = []

    def start(
        self,
        name: str,
        command: Sequence[str],
        cwd: Path,
        env: Mapping[str, str],
        fd: int | None = None,
    ) -> Program:
        """``fd`` is a file that the program inherits."""
        program = Program(name, command, cwd, env, fd)
        self._all.append(program)
        return program

    def tails(self) -> str:
        """What they printed last, for somebody who has to find out what went wrong."""
        return "\n".join(f"--- {p.name}\n{p.tail()}" for p in self._all)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # impatience must leave nothing behind
        for program in self._all:
            program.echo = False  # how they end is of no interest
        for program in reversed(self._all):
            program.stop()


def main(name: str, show: Callable[[Programs, Path], Callable[[], None]]) -> int:
    """Is the main program of a demo of that name, and returns its exit status.

    ``show`` gets the programs and an empty folder, does the demo, and returns what shows
    the programs at work until somebody interrupts; with ``--keep`` that is called, too.
    """
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--keep", action="store_true", help="stay up until Ctrl-C")
    keep = parser.parse_args().keep
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    with (
        tempfile.TemporaryDirectory(prefix="anybridge-demo-") as folder,
        Programs() as programs,
    ):
        try:
            stay = show(programs, Path(folder))
            if keep:
                stay()
        except Failure as failure:
            print(f"{programs.tails()}\n\n{name}: {failure}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print()
            return 0 if keep else 130
    return 0
