"""Whole grids by the real programs and Snakemake: killed and stopped on the way, failing in a cell, changed."""
import collections
import contextlib
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

import shared
from runs import find_runs

BUILD = Path(os.environ.get("GENEROUS_BUILD", shared.ROOT / "build"))
GRID = """\
name: g
dataset: class_folders
data_dir: {images}
settings: {{num_epochs: 12, batch_size: 8, schedule: [6], num_workers: 1}}
teachers:
  - {{name: standard, model: resnet8}}
  - {{name: generous, model: resnet8, of: standard, settings: {{warmup: 3}}}}
students:
  - model: resnet14
methods:
  - {{name: crd, settings: {{negatives: 8}}}}
seeds: [0, 1]
report: {{features: 6, worst: 2}}
"""
faults = shared.fault_runs()


def tree(process):
    """A process and all below it."""
    found = [process]
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):
            if int((path / "stat").read_text().rpartition(")")[2].split()[1]) == process:
                found += tree(int(path.name))
    return found


def contents(folder):
    """By run and file, what must be the same in two equal grids; times and logs are not."""
    return {f"{run.parent.relative_to(folder)}/{name}": content for run in sorted(folder.glob("*/*/*/params.json"))
            for name, content in faults.contents(run.parent).items() if name not in ("job.log", ".job")}


class WholeTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = Path(tempfile.mkdtemp(prefix="generous compare {x} ")).resolve()
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        faults.make_images(cls.folder / "images")
        cls.grid = cls.folder / "g.yaml"
        cls.grid.write_text(GRID.format(images=cls.folder / "images"), encoding="utf-8")
        cls.straight = cls.folder / "straight" / "g"
        done = cls.complete("straight")
        assert done.returncode == 0, done.stdout + done.stderr

    @classmethod
    def command(cls, name, *further, grid=None):
        return [sys.executable, "-B", str(shared.ROOT / "apps" / "compare" / "run.py"), str(grid or cls.grid), "--runs",
                str(cls.folder / name), "--build", str(BUILD), "--cores", "2", *further]

    @classmethod
    def complete(cls, name, *further, grid=None):
        return subprocess.run(cls.command(name, *further, grid=grid), capture_output=True, text=True, check=False)

    def interrupt(self, name, epochs, stop):
        """Starts the grid, and calls `stop` with its process when so many epochs are done. Its exit code and output."""
        with subprocess.Popen(self.command(name), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True) as process:
            begun = process.stdout.readline()  # from now on it minds signals
            while process.poll() is None and self.epochs(name) < epochs:
                time.sleep(0.02)
            self.assertIsNone(process.poll(), "the grid ended before it was stopped")
            below = tree(process.pid)
            stop(process)
            output = begun + process.communicate()[0]
            return process.returncode, output, below

    def interrupt_training(self, name, epochs, sent):
        """The same by a signal, which comes while a training is between two of its epochs. Its job passes it on as SIGHUP."""
        def stop(process):
            training = self.halted_training(process, name)
            try:
                process.send_signal(sent)
                until(lambda: pending(training) & 1 << (signal.SIGHUP - 1))
            finally:
                os.kill(training, signal.SIGCONT)

        code, output, below = self.interrupt(name, epochs, stop)
        self.assertEqual(code, 128 + sent, output)
        self.assertIn("the same command goes on", output)
        self.assertEqual([found for found in below if "save_path" in command_of(found)], [])

    def halted_training(self, process, name):
        """A training below `process`, stopped (SIGSTOP) behind an epoch of its own, so that it minds signals, and with
        epochs to go."""
        at_first = {}  # process -> epochs that its run had when it was first seen

        def halted():
            for found in tree(process.pid):
                path = re.search(r"/apps/train_\w+ --save_path=(\S+)", command_of(found))
                if not path:
                    continue
                metrics = self.folder / name / "g" / path[1] / "metrics.csv"
                with contextlib.suppress(OSError):
                    os.kill(found, signal.SIGSTOP)
                    lines = len(metrics.read_text().splitlines()) if metrics.exists() else 0
                    if at_first.setdefault(found, max(lines, 1)) < lines <= 11:
                        return found
                with contextlib.suppress(OSError):
                    os.kill(found, signal.SIGCONT)
            return None

        return until(halted)

    def epochs(self, name):
        return sum(max(len(path.read_text().splitlines()) - 1, 0)
                   for path in (self.folder / name / "g").glob("*/*/*/metrics.csv"))

    def assert_same_as_straight(self, name):
        ours, theirs = contents(self.folder / name / "g"), contents(self.straight)
        self.assertEqual(sorted(ours), sorted(theirs))
        self.assertEqual([file for file in ours if ours[file] != theirs[file]], [])
        self.assertGreaterEqual(len([file for file in ours if file.endswith("_model.safetensors")]), 20)

    def test_result(self):
        runs = find_runs([self.straight])
        self.assertEqual(len(runs), 10)
        self.assertTrue(all(run.complete and run.report and run.epochs == 12 for run in runs))
        self.assertEqual({run.name for run in runs},
                         {"standard resnet8", "generous resnet8", "resnet14 alone", "resnet14 crd of standard resnet8",
                          "resnet14 crd of generous resnet8"})
        for name in ("results.csv", "table.md", "table.tex", "page.html"):
            self.assertGreater((self.straight / name).stat().st_size, 500, name)
        again = self.complete("straight")
        self.assertEqual((again.returncode, again.stderr), (0, ""))
        self.assertIn("10 of 10 done", again.stdout)
        status = self.complete("straight", "--status")
        self.assertEqual((status.returncode, status.stdout.count("  done "), status.stderr), (0, 10, ""))

    def test_interrupted(self):
        """Killed with all below it; Snakemake killed alone, whose jobs notice that, save and end; stopped by signals."""
        def kill(process):
            for found in tree(process.pid):
                os.kill(found, signal.SIGKILL)

        def kill_engine(process):
            for found in tree(process.pid):
                if is_engine(command_of(found)):
                    os.kill(found, signal.SIGKILL)

        for epochs, stop in ((5, kill), (30, kill_engine), (55, kill)):
            self.assertEqual(self.interrupt("interrupted", epochs, stop)[0], -signal.SIGKILL)
        for epochs, sent in ((70, signal.SIGTERM), (80, signal.SIGINT), (90, signal.SIGHUP)):
            self.interrupt_training("interrupted", epochs, sent)
        logs = [path.read_text() for path in (self.folder / "interrupted" / "g").glob("*/*/*/training.log")]
        self.assertGreaterEqual(sum(log.count("stopped by SIGHUP in epoch") for log in logs), 3)
        self.assertIn("interrupted", self.complete("interrupted", "--status").stdout)
        done = self.complete("interrupted")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assert_same_as_straight("interrupted")

    def test_one_start_at_a_time(self):
        folder = self.folder / "two" / "g"
        folder.mkdir(parents=True)
        with open(folder / ".grid_lock", "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            lock.write("process 7 on host h\n")
            lock.flush()
            other = self.complete("two")
        self.assertEqual(other.returncode, 2)
        self.assertRegex(other.stderr, f"^run.sh: {re.escape(str(folder))} is in use by process 7 on host h: .*\n$")
        self.assertEqual([path.name for path in folder.iterdir()], [".grid_lock"])

    def changed(self, name, old, new):
        text = self.grid.read_text(encoding="utf-8")
        self.assertEqual(text.count(old), 1)
        path = self.folder / f"{name}.yaml"
        path.write_text(text.replace(old, new), encoding="utf-8")
        return path

    def test_a_failed_cell_stops_no_other(self):
        grid = self.changed("failing", "  - {name: crd, settings: {negatives: 8}}",
                            "  - {name: crd, settings: {negatives: 8}}\n  - {name: kd, settings: {learning_rate: 1e6}}")
        shutil.copytree(self.straight, self.folder / "failing" / "g")
        before = contents(self.straight)
        done = self.complete("failing", grid=grid)
        self.assertEqual(done.returncode, 1)
        self.assertIn("10 of 14 done, 4 failed", done.stdout)
        failed = [line for line in done.stdout.splitlines() if line.startswith("  failed ")]
        self.assertEqual(len(failed), 4)
        for line in failed:
            self.assertRegex(line, r"students/resnet14-kd-of-\S+/seed[01]: exit code 1: train_kd: .* became ")
        self.assertEqual(done.stdout.count("its log: "), 4)
        self.assertIn("Missing in the tables: students/resnet14-kd-of-", done.stdout)
        after = contents(self.folder / "failing" / "g")
        self.assertEqual([file for file in before if before[file] != after[file]], [])

    def test_a_changed_grid_trains_only_what_is_new(self):
        shutil.copytree(self.straight, self.folder / "changed" / "g")
        times = {path: path.stat().st_mtime_ns for path in (self.folder / "changed" / "g").glob("*/*/*/*.safetensors")}
        grid = self.changed("changed", "seeds: [0, 1]", "seeds: [0, 2]")
        done = self.complete("changed", grid=grid)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual({path: path.stat().st_mtime_ns for path in times}, times)
        rows = (self.folder / "changed" / "g" / "results.csv").read_text(encoding="utf-8").splitlines()[1:]
        self.assertEqual(collections.Counter(row.split(",")[0].rpartition("/")[2] for row in rows),
                         {"seed0": 5, "seed2": 5})

    def test_another_report_trains_nothing(self):
        shutil.copytree(self.straight, self.folder / "report" / "g")
        grid = self.changed("report", "features: 6", "features: 9")
        done = self.complete("report", grid=grid)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        ours, theirs = contents(self.folder / "report" / "g"), contents(self.straight)
        differing = {Path(file).name for file in ours if ours[file] != theirs[file]}
        self.assertEqual(differing, {"features.csv", "done"})

    def test_dry_run_and_mistakes(self):
        dry = self.complete("dry", "--dry-run")
        self.assertEqual((dry.returncode, dry.stdout.count("  waiting ")), (0, 10), dry.stderr)
        self.assertEqual(list((self.folder / "dry" / "g").glob("*/*/seed*")), [])
        for old, new, words in (("negatives: 8", "negative: 8", "methods[0].settings.negative: train_kd: unknown flag "
                                 "--negative; did you mean --negatives?"),
                                ("warmup: 3", "warmup: x", "teachers[1].settings.warmup: train_generous: --warmup must"),
                                ("model: resnet14", "model: resnot14", "students[0].model: unknown model 'resnot14'; "
                                 "did you mean 'resnet14'?"),
                                ("name: crd", "name: cdr", "methods[0].name: train_kd: --method"),
                                ("seeds:", "threads: 3\nseeds:", "threads: each run has 3, but there are 2 cores")):
            done = self.complete("dry", grid=self.changed("mistake", old, new))
            self.assertEqual((done.returncode, done.stderr.count("\n")), (2, 1), done.stderr)
            self.assertIn(words, done.stderr)


def until(condition):
    """What `condition` returns as soon as that is true; fails after two minutes."""
    end = time.monotonic() + 120
    while not (result := condition()):
        if time.monotonic() > end:
            raise AssertionError("did not happen within two minutes")
        time.sleep(0.005)
    return result


def pending(process):
    """The signals that are on their way to a process, a bit each."""
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    return int(re.search(r"^ShdPnd:\s*(\w+)", status, re.MULTILINE)[1], 16)


def is_engine(command):
    """Whether it is run.py or Snakemake, not a job or a program."""
    return "/run.py " in command or "snakemake --snakefile" in command


def command_of(process):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/cmdline").read_bytes().decode().replace("\0", " ")
    return ""


if __name__ == "__main__":
    unittest.main()
