#!/usr/bin/env python3
"""One run of a grid, as Snakemake starts it: trains, going on where an earlier start stopped, evaluates, and leaves the
marker `done`.

    python3 train.py PLAN FOLDER        in the grid's folder; needs nothing but Python

Everything that the programs print is in FOLDER/job.log. SIGINT, SIGTERM, SIGHUP and the end of the process that started
this one stop the program, which saves. Exit codes are the program's own."""
from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, BinaryIO, Iterator

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SECONDS_BETWEEN_LOOKS = 0.2
SECONDS_BEFORE_TELLING = 0.3
MARKER = "done"     # says how it was evaluated
FAILURE = "failed"  # says why, until the next start


class Job:
    """The programs of a run, one after the other, and the signals that stop them."""

    def __init__(self, log: BinaryIO, lock: int):
        self.log = log
        self.lock = lock  # the programs hold it, too: it outlives this process where that is killed
        self.child: subprocess.Popen[bytes] | None = None
        self.stopped_by = 0
        self.told_child = False
        self.parent = os.getppid()
        for number in SIGNALS:
            signal.signal(number, lambda received, _: self.stop(received))

    def stop(self, number: int) -> None:
        """The first signal lets the program save; another one, later on, ends it at once."""
        if self.stopped_by and self.child is not None and self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
        self.stopped_by = self.stopped_by or number

    def tell_child(self) -> None:
        """By SIGHUP, and not at once: Slurm signals the program as well, which ends unsaved by a second signal that is
        no SIGHUP."""
        if self.child is not None and not self.told_child:
            time.sleep(SECONDS_BEFORE_TELLING)
            self.told_child = True
            self.child.send_signal(signal.SIGHUP)

    def note(self, text: str) -> None:
        self.log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {text}\n".encode())
        self.log.flush()

    def run(self, command: list[str]) -> int:
        """The exit code; 128 and the signal if one stopped it."""
        if self.stopped_by:
            return 128 + self.stopped_by
        self.note(shlex.join(command))
        # A session of its own, so that a terminal's Ctrl-C reaches it once, from here.
        self.child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
                                      start_new_session=True, pass_fds=(self.lock,))
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = self.child.wait(timeout=SECONDS_BETWEEN_LOOKS)
                return code if code >= 0 else 128 - code
            if os.getppid() != self.parent and not self.stopped_by:
                self.note("whoever started this is gone: stopping")
                self.stop(signal.SIGTERM)
            if self.stopped_by:
                self.tell_child()


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[int]:
    """One job at a time in a folder, as one of an earlier start may still be saving: waits for it. Gives the lock."""
    with open(folder / ".job", "a", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(0)
        file.write(f"process {os.getpid()} on host {socket.gethostname()}\n")
        file.flush()
        yield file.fileno()


def last_line(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line for line in reversed(lines) if line.strip()), "")


def replace_file(path: Path, text: str) -> None:
    """In one step: whoever reads it sees the earlier one or the new one."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)


def work(plan: dict[str, Any], run: dict[str, Any], lock: int) -> int:
    """Trains and evaluates; the exit code."""
    folder, programs = Path(run["folder"]), Path(plan["programs"])
    resume = ["--resume"] if (folder / "training_state.safetensors").exists() else []
    commands = [[str(programs / run["program"]), f"--save_path={folder}", *run["train"], *resume],
                [str(programs / "evaluate"), f"--weights={folder / run['weights']}_model.safetensors",
                 *run["evaluate"], f"--report={folder / 'report'}"]]
    with open(folder / "job.log", "ab") as log:
        job = Job(log, lock)
        code = 0
        for command in commands:
            code = code or job.run(command)
        if code != 0 and not job.stopped_by:
            what = f"killed by signal {code - 128}" if code > 128 else last_line(folder / "job.log")
            replace_file(folder / FAILURE, f"exit code {code}: {what}\n")
        job.note(f"exit code {code}")
    return 128 + job.stopped_by if code and job.stopped_by else code


def main() -> int:
    if len(sys.argv) != 3:
        print("usage: train.py PLAN FOLDER", file=sys.stderr)
        return 2
    with open(sys.argv[1], encoding="utf-8") as file:
        plan = json.load(file)
    run = next((run for run in plan["runs"] if run["folder"] == sys.argv[2]), None)
    if run is None:
        print(f"train.py: {sys.argv[2]} is no run of {sys.argv[1]}: the grid was changed", file=sys.stderr)
        return 2
    folder = Path(run["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    with alone_in(folder) as lock:
        (folder / FAILURE).unlink(missing_ok=True)
        code = work(plan, run, lock)
        if code == 0:
            replace_file(folder / MARKER, json.dumps(run["evaluate"]) + "\n")
        return code


if __name__ == "__main__":
    sys.exit(main())
