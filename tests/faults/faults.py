"""Kills, failing disks and second writers: nothing saved is lost, and a resumed run equals an uninterrupted one to the
bit. Called by run.sh, which says what it prints."""
import argparse
import collections
import concurrent.futures
import errno
import itertools
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

from runs import Finding, Stage, contents, copy_of, make_images, require, require_same

EPOCHS = 6
SAVED = EPOCHS - 1  # epochs of the run that the failing calls go on from: one more is saved
STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Faults:
    def __init__(self, build, folder, seed):
        self.folder = folder
        self.library = build / "tests" / "faults" / "libfailing_calls.so"
        self.random = random.Random(seed)
        self.numbers = itertools.count()
        self.images = folder / "images"
        make_images(self.images)
        self.uncached = folder / "uncached"  # the same, never decoded
        shutil.copytree(self.images, self.uncached)
        teacher = folder / "teacher"
        weights = str(teacher / "best_model.safetensors")
        Stage(build, self.images, "train_standard").complete(teacher, "--num_epochs", "2")
        self.stages = [
            Stage(build, self.images, "train_standard", "--schedule", "2,4"),
            Stage(build, self.images, "train_generous", "--adversarial_model", "resnet8", "--adversarial_resume",
                  weights, "--warmup", "3"),
            Stage(build, self.images, "train_kd", "--teacher_model", "resnet8", "--teacher_resume", weights),
        ]
        self.straight = {}  # what an uninterrupted run of a stage leaves, by program
        self.seconds = {}
        self.saved = {}  # the folder of a run of a stage that stopped after SAVED epochs
        for stage in self.stages:
            straight = folder / f"straight_{stage.program}"
            begin = time.monotonic()
            stage.complete(straight, "--num_epochs", str(EPOCHS))
            self.seconds[stage.program] = time.monotonic() - begin
            self.straight[stage.program] = contents(straight)
            self.saved[stage.program] = folder / f"saved_{stage.program}"
            stage.complete(self.saved[stage.program], "--num_epochs", str(EPOCHS), "--max_steps", str(6 * SAVED))

    def fresh(self, name):
        return self.folder / f"{name}{next(self.numbers)}"

    def forget_cache(self):
        shutil.rmtree(self.images / ".generous_cache", ignore_errors=True)

    def plan(self, folder, call, kind, error):
        return {"LD_PRELOAD": str(self.library), "FAULT_FOLDER": str(folder), "FAULT_CALL": str(call),
                "FAULT_KIND": kind, "FAULT_ERROR": str(error)}

    def counted_calls(self, stage, folder, run, *flags):
        """The names of the calls by which `stage` changes `folder`, in order."""
        report = self.fresh("calls")
        stage.complete(run, *flags, faults={**self.plan(folder, 0, "once", 0), "FAULT_REPORT": str(report)})
        return report.read_text().split()

    def kills(self, count):
        """`count` signals at random times, most of them SIGKILL, until a run is complete; stage after stage."""
        figures = collections.Counter()
        for stage in itertools.cycle(self.stages):
            if figures["signals"] >= count:
                return figures
            run = self.fresh("killed_")
            code = None
            while code != 0:
                if self.random.random() < 0.3:
                    self.forget_cache()  # so that it is being written at some of the kills
                pause = self.random.uniform(0, 0.9 * self.seconds[stage.program])
                sent = signal.SIGKILL if self.random.random() < 0.7 else self.random.choice(STOPS)
                resumed = (run / "training_state.safetensors").exists()
                figures["resumes"] += resumed
                process = stage.start(run, *stage.go_on(run, "--num_epochs", str(EPOCHS)))
                if figures["signals"] < count:
                    try:
                        process.wait(pause)
                    except subprocess.TimeoutExpired:
                        process.send_signal(sent)
                errors = process.communicate(timeout=300)[1].decode(errors="replace")
                code = process.returncode
                require(code in (0, -sent, 128 + sent) and (code != 128 + sent or sent in STOPS),
                        f"{stage.program} in {run}: exit code {code} after {sent.name}: {errors}")
                if code != 0:  # it came before the end
                    figures["signals"] += 1
                    figures[sent.name] += 1
            require_same(run, self.straight[stage.program], "after kills")
            figures["equal"] += 1
            shutil.rmtree(run)
        return figures

    def failing_save(self, stage, call, kind, error):
        """A run goes on from a save, one of the calls that change its folder fails; then it is resumed."""
        saved = self.saved[stage.program]
        with copy_of(saved, self.fresh(f"failing_{kind}_{call}_")) as run:
            before = contents(run)
            code, errors = stage.finish(run, "--resume", faults=self.plan(run, call, kind, error))
            what = f"{stage.program}, call {call} {kind}"
            if kind == "kill":
                require(code == -signal.SIGKILL, f"{what}: exit code {code}: {errors}")
            else:  # code 0: not needed to go on, such as the text in the lock's file
                require(code in (0, 1), f"{what}: exit code {code}: {errors}")
                require(code == 0 or errors.count("\n") == 1 and os.strerror(error) in errors,
                        f"{what}: not one line with the reason: {errors!r}")
            after = contents(run)
            for name, content in before.items():
                require(name in after, f"{what}: {run / name} was lost")
                require(kind != "onwards" or call > 1 or after[name] == content, f"{what}: {run / name} was changed")
            stage.complete(run, "--resume")
            require_same(run, self.straight[stage.program], what)
            return code

    def failing_cache(self, stage, call, kind, error):
        """One of the calls that write the cache fails: the run is the same, with the cache or without it."""
        with copy_of(self.uncached, self.fresh(f"images_{kind}_{call}_")) as images:
            run = self.fresh("cached_")
            stage = stage.on(images)
            flags = ("--num_epochs", str(EPOCHS))
            code, errors = stage.finish(run, *flags, faults=self.plan(images, call, kind, error))
            what = f"the cache, call {call} {kind}"
            require(code == (-signal.SIGKILL if kind == "kill" else 0), f"{what}: exit code {code}: {errors}")
            if code != 0:
                stage.complete(run, *stage.go_on(run, *flags))
            reference = dict(self.straight[stage.program])
            found = contents(run)
            for name in ("last_model.safetensors", "best_model.safetensors", "metrics.csv", "steps.csv"):
                require(found[name] == reference[name], f"{what}: {run / name} is another than without the fault")
            left = [path for path in (images / ".generous_cache").glob("*") if path.suffix != ".images"]
            require(not left, f"{what}: {left} was left behind")
            shutil.rmtree(run)
            return code

    def disk(self, full):
        """Every call of a save, and every call that writes the cache, fails once; in the short form, some of them."""
        figures = collections.Counter()
        jobs = []
        for stage in self.stages if full else self.stages[:1]:
            with copy_of(self.saved[stage.program], self.fresh("counted_")) as run:
                calls = self.counted_calls(stage, run, run, "--resume")
            jobs += self.jobs(self.failing_save, stage, calls, full)
            figures["calls of a save"] = max(figures["calls of a save"], len(calls))
        with copy_of(self.uncached, self.fresh("images_")) as images:
            run = self.fresh("counted_")
            calls = self.counted_calls(self.stages[0].on(images), images, run, "--num_epochs", "1")
            shutil.rmtree(run)
        jobs += self.jobs(self.failing_cache, self.stages[0], calls, full)
        figures["calls of the cache"] = len(calls)
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            try:
                for code in pool.map(lambda job: job[0](*job[1:]), jobs):
                    figures["failed calls"] += 1
                    figures["killed there" if code < 0 else "ended by an error" if code == 1 else "went on"] += 1
            finally:
                pool.shutdown(cancel_futures=True)
        return figures

    def jobs(self, check, stage, calls, full):
        """(check, stage, call, kind, error) for all `calls` in all ways; otherwise for one in eight of the writes, of
        which there are hundreds, in one way each."""
        jobs = []
        for number, name in enumerate(calls, 1):
            ways = [("once", errno.EIO if name == "fsync" else errno.ENOSPC), ("kill", 0), ("onwards", errno.ENOSPC)]
            if name == "write":
                ways.append(("half", errno.ENOSPC))
            if not full:
                ways = [] if name == "write" and self.random.random() > 1 / 8 else [self.random.choice(ways)]
            jobs += [(check, stage, number, *way) for way in ways]
        return jobs

    def read_only(self):
        """A read-only folder: refused in one line, as it was; read-only images cost only the cache."""
        for stage in self.stages:
            saved = self.saved[stage.program]
            before = contents(saved)
            code, errors = stage.finish(saved, "--resume", faults=self.plan(saved, 1, "onwards", errno.EROFS))
            require(code == 1 and errors.count("\n") == 1 and "Read-only file system" in errors,
                    f"read-only: exit code {code}: {errors!r}")
            require(contents(saved) == before, f"read-only: {saved} was changed")
        self.failing_cache(self.stages[0], 1, "onwards", errno.EROFS)
        return collections.Counter({"read-only folders": len(self.stages) + 1})

    def two_writers(self, rounds):
        """Programs in a folder in which another one is at work are refused; that one is as if it were alone."""
        figures = collections.Counter()
        for number in range(rounds):
            stage = self.stages[number % len(self.stages)]
            run = self.fresh("shared_")
            first = stage.start(run, "--num_epochs", str(EPOCHS))
            while first.poll() is None and not (run / "training_state.safetensors").exists():
                time.sleep(0.001)
            first.send_signal(signal.SIGSTOP)
            require(first.poll() is None, f"two writers in {run}: the first one ended before the second one came")
            for flags in (("--num_epochs", str(EPOCHS)), ("--num_epochs", str(EPOCHS), "--resume")):
                code, errors = stage.finish(run, *flags)
                require(code == 1 and f"in use by process {first.pid}" in errors and errors.count("\n") == 1,
                        f"two writers in {run}: exit code {code}: {errors!r}")
                figures["writers refused"] += 1
            first.send_signal(signal.SIGCONT)
            errors = first.communicate(timeout=300)[1].decode(errors="replace")
            require(first.returncode == 0, f"two writers in {run}: exit code {first.returncode}: {errors!r}")
            require_same(run, self.straight[stage.program], "two writers")
            shutil.rmtree(run)
        return figures


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    parser.add_argument("--kills", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    arguments = parser.parse_args()
    full = arguments.kills >= 50
    begin = time.monotonic()
    faults = Faults(arguments.build.resolve(), arguments.folder.resolve(), arguments.seed)
    for name, check in (("kills", lambda: faults.kills(arguments.kills)), ("disk", lambda: faults.disk(full)),
                        ("read-only", faults.read_only), ("two writers", lambda: faults.two_writers(9 if full else 3))):
        figures = ", ".join(f"{count} {what}" for what, count in sorted(check().items()))
        print(f"faults: {name}: {figures} ({time.monotonic() - begin:.0f} s)", flush=True)


if __name__ == "__main__":
    try:
        main()
    except Finding as finding:
        print(f"faults: A FINDING: {finding}", file=sys.stderr)
        sys.exit(1)
