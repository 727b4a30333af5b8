"""One start of a grid: Snakemake at work, what is said of it, and how it is stopped."""
from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Sequence

import results
from plan import PlannedRun
from status import State, failure, now, running_lines, states_of, summary_line
from train import SIGNALS

SECONDS_BETWEEN_LOOKS = 1.0
SECONDS_BETWEEN_LINES = 60.0


class Output:
    """Standard output, which may be lost (`| head`, a full disk): the work goes on without it."""
    lost = False

    def say(self, text: str) -> None:
        try:
            print(text, flush=True)
        except OSError:
            self.lost = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Start:
    """One start of a grid: Snakemake at work, and what is said of it."""

    def __init__(self, name: str, runs: Sequence[PlannedRun], folder: Path, at_once: int, stops_by: int,
                 output: Output):
        self.name = name
        self.runs = runs
        self.folder = folder
        self.at_once = at_once
        self.stops_by = stops_by  # the signal by which Snakemake stops its jobs
        self.output = output
        self.signal = 0
        self.stopping = False  # and said so
        self.process: subprocess.Popen[bytes] | None = None
        for number in SIGNALS:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, lambda received, _: self.stop(received))

    def stop(self, number: int) -> None:
        """Snakemake then begins nothing more; each run saves. Another signal ends the runs at once, unsaved."""
        self.signal = self.signal or number
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, self.stops_by)

    def run(self, command: list[str], lock: int, log: IO[bytes]) -> int:
        """Until Snakemake ends; its exit code."""
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=(lock,),
                                        start_new_session=True)
        if self.signal:
            os.killpg(self.process.pid, self.stops_by)
        try:
            self.watch(self.process)
        finally:  # a full disk, say: nothing goes on without us
            if self.process.poll() is None:
                os.killpg(self.process.pid, self.stops_by)
                self.process.wait()
        return self.process.returncode

    def watch(self, process: subprocess.Popen[bytes]) -> None:
        """Says what happens, and keeps the results up to date."""
        before = states_of(self.runs, self.folder)
        said = -SECONDS_BETWEEN_LINES
        while process.poll() is None:
            time.sleep(SECONDS_BETWEEN_LOOKS)
            self.say_stop()
            states = states_of(self.runs, self.folder)
            if self.say_changes(before, states):
                results.write(self.name, self.folder, self.runs)
            if any(state.kind == "running" for state in states) and time.monotonic() - said > SECONDS_BETWEEN_LINES:
                said = time.monotonic()
                self.output.say("\n".join([f"{now()}  {summary_line(states, self.at_once)}", *running_lines(states)]))
            before = states
        self.say_stop()  # Snakemake may have ended at once
        self.say_changes(before, states_of(self.runs, self.folder))

    def say_stop(self) -> None:
        """Once, after a signal."""
        if self.signal and not self.stopping:
            self.stopping = True
            self.output.say(f"{now()}  stopping: runs save and end; the same command goes on")

    def say_changes(self, before: Sequence[State], states: Sequence[State]) -> bool:
        """A line for each run that ended since; whether one is done."""
        one_done = False
        done = sum(state.kind == "done" for state in before)
        for earlier, state in zip(before, states):
            if state.kind == earlier.kind or state.kind not in ("done", "failed"):
                continue
            one_done = one_done or state.kind == "done"
            done += state.kind == "done"
            text = results.words_of(self.folder / state.run.folder) if state.kind == "done" else \
                failure(state, self.folder)
            self.output.say(f"{now()}  {state.kind} ({done} of {len(states)})  {state.run.folder}  {text}")
        return one_done


def say_end(start: Start) -> None:
    """What is missing, why, and how to go on."""
    say = start.output.say
    states = states_of(start.runs, start.folder)
    missing = [state for state in states if state.kind != "done"]
    failed = [state for state in missing if state.kind == "failed" or state.kind == "interrupted" and not start.signal]
    say(f"{now()}  {summary_line(states, start.at_once)}")
    for state in failed:
        say(f"  failed  {state.run.folder}: {failure(state, start.folder)}\n"
            f"          its log: {start.folder / state.run.folder / 'job.log'}")
    if failed:
        say("  When the cause is mended, the same command goes on with them from their last saved epochs; one whose "
            "folder is removed begins anew.")
    elif missing and not start.signal:
        say(f"  {len(missing)} runs did not come to their end; Snakemake's log says why: "
            f"{start.folder / 'snakemake.log'}")
    if missing:
        say("  To go on: the same command.")
