#!/usr/bin/env python3
"""Runs a grid to its end, however often it is interrupted; run.sh does the set-up and calls this.

    python3 apps/compare/run.py GRID.yaml [--runs FOLDER] [--cores N] [--dry-run | --status] [-- SNAKEMAKE_ARGUMENT ...]

Exit codes: 0 everything is done, 1 something failed, 2 wrong usage or grid, 128 and the signal if one stopped it."""
from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Iterator, Sequence

from advice import CHECKOUT, install_call, missing_package, script_call

try:
    import results
    from grid import Grid, read_grid
    from places import GridError
    from plan import PlannedRun, Planner, write_plan
    from programs import Programs
    from runs import RunError
    from start import Output, Start, say_end
    from status import duration, now, states_of, summary_line, table
    from train import FAILURE, MARKER
except ModuleNotFoundError as missing:
    print(missing_package("run.sh", missing, "pandas", "scipy", "yaml"), file=sys.stderr)
    sys.exit(2)

COMPARE = Path(__file__).resolve().parent
CLUSTER_FLAGS = ("--slurm", "--cluster", "--cluster-sync", "--drmaa", "--executor", "-e", "--profile",
                 "--kubernetes", "--tes", "--flux")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    own, further = list(arguments), []
    if "--" in own:
        at = own.index("--")
        own, further = own[:at], own[at + 1:]
    parser = argparse.ArgumentParser(prog="run.sh", description="Runs a grid of trainings, and goes on where it "
                                     "stopped.", epilog="What follows -- goes to Snakemake.", allow_abbrev=False)
    parser.add_argument("grid", type=Path, help="the grid's file, such as apps/compare/grids/tiny.yaml")
    parser.add_argument("--runs", type=Path, default=CHECKOUT / "runs", help="where the grid gets a folder of its name "
                        "(default: runs in the checkout)")
    parser.add_argument("--cores", type=int, default=len(os.sched_getaffinity(0)),
                        help="cores to share out among runs (default: all, here %(default)s)")
    parser.add_argument("--build", type=Path, default=CHECKOUT / "build", help="the build's folder (default: build)")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--dry-run", action="store_true", help="say what would be done")
    mode.add_argument("--status", action="store_true", help="say what is done, running and left")
    parsed = parser.parse_args(own)
    parsed.snakemake = further
    parsed.runs, parsed.build = parsed.runs.resolve(), parsed.build.resolve()
    return parsed


def on_cluster(further: Sequence[str]) -> bool:
    """Whether Snakemake's arguments give the jobs to something else than this machine."""
    return any(argument.split("=")[0] in CLUSTER_FLAGS for argument in further)


def runs_at_once(grid_threads: int, cores: int, further: Sequence[str]) -> int:
    """How many runs are at work together: by cores here, by Snakemake's --jobs on a cluster."""
    if on_cluster(further):
        jobs = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
        jobs.add_argument("--jobs", "-j", type=int, default=1)
        with contextlib.suppress(argparse.ArgumentError):
            return max(1, jobs.parse_known_args(further)[0].jobs)
    return max(1, cores // grid_threads)


def check_threads(grid: Grid, cores: int, further: Sequence[str]) -> None:
    if cores < 1:
        raise GridError(f"--cores must be at least 1, not {cores}")
    if grid.threads > cores and not on_cluster(further):
        raise GridError(f"{grid.file}: threads: each run has {grid.threads}, but there are {cores} cores to share out: "
                        f"give --cores {grid.threads}, or fewer threads (another number gives other bits)")


@contextlib.contextmanager
def lock_of(folder: Path) -> Iterator[int]:
    """One start at a time in a grid's folder; Snakemake holds it as well, as long as it lives."""
    with open(folder / ".grid_lock", "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise GridError(f"{folder} is in use by {file.read().strip() or 'another start'}: wait until that ends, or "
                            "stop it; --status shows how far it is") from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on host {socket.gethostname()}\n")
        file.flush()
        yield file.fileno()


def snakemake_command(folder: Path, cores: int, further: Sequence[str]) -> list[str]:
    program = shutil.which("snakemake")
    if program is None:
        raise GridError(f"snakemake is missing: {install_call('snakemake')}")
    command = [program, "--snakefile", str(COMPARE / "Snakefile"), "--directory", str(folder), "--config",
               f"plan={folder / 'plan.json'}", "--keep-going", "--rerun-incomplete", "--rerun-triggers", "mtime",
               "--scheduler", "greedy"]
    if not on_cluster(further):
        command += ["--cores", str(cores)]
    return command + list(further)


def forget(runs: Sequence[PlannedRun], folder: Path) -> None:
    """Removes the markers of runs that were evaluated otherwise: their jobs then evaluate again, and train nothing.
    Earlier failures are forgotten as well."""
    for run in runs:
        (folder / run.folder / FAILURE).unlink(missing_ok=True)
        marker = folder / run.folder / MARKER
        if marker.is_file() and marker.read_text(encoding="utf-8") != json.dumps(run.evaluate) + "\n":
            marker.unlink()


def write_page(folder: Path, runs: Sequence[PlannedRun]) -> tuple[bool, str]:
    """The page of tables and plots, where a run ended since the last one: of the grid's folder, or of its runs alone
    where it holds those of an earlier version of the grid as well. Whether it is there; where, or why not."""
    planned = {folder / run.folder for run in runs}
    found = {path.parent for path in folder.glob("*/*/seed*/params.json")}
    roots = [folder] if found <= planned else sorted(found & planned)
    page = folder / "page.html"
    sources = [folder / "results.csv", *(folder / run.folder / MARKER for run in runs)]
    newest = max((path.stat().st_mtime_ns for path in sources if path.is_file()), default=0)
    if page.is_file() and page.stat().st_mtime_ns > newest:
        return True, f"Page:    {page}"
    done = subprocess.run([sys.executable, "-B", str(COMPARE / "report.py"), *map(str, roots), "--output", str(page)],
                          check=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                          text=True)
    said = done.stderr.strip().splitlines()
    if done.returncode == 0:
        return True, f"Page:    {page}"
    return False, f"No page: {said[-1] if said else f'report.py ended with {done.returncode}'}"


def run_grid(arguments: argparse.Namespace) -> int:
    grid = read_grid(arguments.grid)
    check_threads(grid, arguments.cores, arguments.snakemake)
    programs = Programs(arguments.build / "apps")
    planner = Planner(grid, programs, CHECKOUT)
    runs = planner.runs()
    if not planner.data.is_dir() and not arguments.dry_run:
        fetch_images(grid, planner.data)
    folder = arguments.runs / grid.name
    at_once = runs_at_once(grid.threads, arguments.cores, arguments.snakemake)
    folder.mkdir(parents=True, exist_ok=True)
    with lock_of(folder) as lock:
        write_plan(folder / "plan.json", grid, programs, runs)
        command = snakemake_command(folder, arguments.cores, arguments.snakemake)
        unlock(command, folder)
        if arguments.dry_run:
            print("\n".join(table(states_of(runs, folder), folder)), flush=True)
            return subprocess.run([*command, "--dry-run", "--quiet"], check=False).returncode
        forget(runs, folder)
        # On a cluster SIGTERM would wait for the jobs, which SIGINT cancels.
        stops_by = signal.SIGINT if on_cluster(arguments.snakemake) else signal.SIGTERM
        return work(Start(grid.name, runs, folder, at_once, stops_by, Output()), command, lock)


def fetch_images(grid: Grid, folder: Path) -> None:
    if grid.data_dir is not None:
        raise GridError(f"{grid.file}: data_dir: there is no folder {folder}")
    if subprocess.run(["bash", "data/download.sh", grid.dataset], cwd=CHECKOUT, check=False).returncode != 0:
        raise GridError(f"the images of {grid.dataset} are missing: "
                        f"{script_call('data/download.sh', grid.dataset, folder)}")


def unlock(command: list[str], folder: Path) -> None:
    """Snakemake's own lock may be one of a start that was killed: nobody else is at work here, as we hold ours."""
    if any((folder / ".snakemake" / "locks").glob("*")):
        subprocess.run([*command, "--unlock"], check=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)


def work(start: Start, command: list[str], lock: int) -> int:
    """Runs what is left and writes the results; the exit code."""
    begin = time.monotonic()
    say = start.output.say
    states = states_of(start.runs, start.folder)
    say(f"{now()}  {start.name}: {summary_line(states, start.at_once)}; everything is in {start.folder}")
    code = 0
    if any(state.kind != "done" for state in states):
        with open(start.folder / "snakemake.log", "wb") as log:
            code = start.run(command, lock, log)
    say_end(start)
    results.write(start.name, start.folder, start.runs)
    if start.signal:
        return 128 + start.signal
    say(f"\n{(start.folder / 'table.md').read_text(encoding='utf-8')}")
    say(f"Results: {start.folder}/results.csv, table.md, table.tex; in {duration(time.monotonic() - begin)}")
    done = [state.kind == "done" for state in states_of(start.runs, start.folder)]
    good = all(done) and code == 0
    if any(done):
        written, words = write_page(start.folder, start.runs)
        good = good and written
        say(words)
    return 0 if good and not start.output.lost else 1


def show_status(arguments: argparse.Namespace) -> int:
    """From the plan of the last start: it may be at work right now."""
    grid = read_grid(arguments.grid)
    folder = arguments.runs / grid.name
    path = folder / "plan.json"
    if not path.is_file():
        print(f"{grid.name} was not started yet: there is no {path}")
        return 0
    try:
        plan = json.loads(path.read_text(encoding="utf-8"))
        runs = [PlannedRun(**run) for run in plan["runs"]]
    except (ValueError, TypeError, KeyError):
        raise GridError(f"{path} is no plan of this version: start the grid, which writes it anew") from None
    states = states_of(runs, folder)
    print("\n".join([*table(states, folder), summary_line(states, runs_at_once(plan["threads"], arguments.cores, arguments.snakemake))]))
    return 0


def main() -> int:
    arguments = parse(sys.argv[1:])
    try:
        return show_status(arguments) if arguments.status else run_grid(arguments)
    except GridError as error:
        print(f"run.sh: {error}", file=sys.stderr)
        return 2
    except RunError as error:
        print(f"run.sh: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"run.sh: {error.filename or 'a file'}: {error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # before anything was started
        return 128 + signal.SIGINT


if __name__ == "__main__":
    sys.exit(main())
