"""A job of a grid with programs that are shell scripts: how it starts, resumes, fails, stops and leaves its marker."""
import fcntl
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

import shared

TRAIN = shared.ROOT / "apps" / "compare" / "train.py"
RUN = "students/a-1/seed0"


class TrainTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name).resolve()
        self.folder = self.root / RUN
        self.plan = self.root / "plan.json"
        self.plan.write_text(json.dumps({"programs": str(self.root), "runs": [
            {"folder": RUN, "program": "train_kd", "train": ["--seed=0"], "evaluate": ["--threads=1"],
             "weights": "last"}]}), encoding="utf-8")
        self.program("train_kd", "echo \"$@\" >>$PWD/trained")
        self.program("evaluate", "echo \"$@\" >>$PWD/evaluated")

    def program(self, name, script):
        path = self.root / name
        path.write_text(f"#!/bin/bash\n{script}\n", encoding="utf-8")
        path.chmod(0o755)

    def start(self, run=RUN):
        return subprocess.Popen([sys.executable, "-B", str(TRAIN), str(self.plan), run], cwd=self.root,
                                stderr=subprocess.PIPE, text=True)

    def code(self, run=RUN):
        with self.start(run) as job:
            self.errors = job.communicate()[1]
            return job.returncode

    def text(self, name):
        path = self.root / name
        return path.read_text(encoding="utf-8") if path.exists() else None

    def wait_for(self, path):
        while not path.exists():
            time.sleep(0.01)

    def test_fresh_then_evaluated(self):
        self.assertEqual(self.code(), 0)
        self.assertEqual(self.text("trained"), f"--save_path={RUN} --seed=0\n")
        self.assertEqual(self.text("evaluated"), f"--weights={RUN}/last_model.safetensors --threads=1 "
                         f"--report={RUN}/report\n")
        self.assertEqual(json.loads(self.text(f"{RUN}/done")), ["--threads=1"])
        self.assertIn("--save_path", self.text(f"{RUN}/job.log"))

    def test_resumes_only_from_a_state(self):
        self.folder.mkdir(parents=True)
        (self.folder / "params.json").write_text("{}", encoding="utf-8")  # killed before its first save
        self.code()
        (self.folder / "training_state.safetensors").touch()
        self.code()
        self.assertEqual(self.text("trained"), f"--save_path={RUN} --seed=0\n--save_path={RUN} --seed=0 --resume\n")

    def test_a_failure_is_remembered_until_the_next_start(self):
        self.program("train_kd", "echo epoch 1; echo 'train_kd: the loss became nan' >&2; exit 1")
        self.assertEqual(self.code(), 1)
        self.assertEqual(self.text(f"{RUN}/failed"), "exit code 1: train_kd: the loss became nan\n")
        self.assertEqual((self.text("evaluated"), self.text(f"{RUN}/done")), (None, None))
        self.program("train_kd", "test ! -e $PWD/" + RUN + "/failed")
        self.assertEqual(self.code(), 0)
        self.assertIsNone(self.text(f"{RUN}/failed"))

    def test_a_failing_evaluation_leaves_no_marker(self):
        self.program("evaluate", "echo 'evaluate: no' >&2; exit 2")
        self.assertEqual(self.code(), 2)
        self.assertEqual(self.text(f"{RUN}/failed"), "exit code 2: evaluate: no\n")
        self.assertIsNone(self.text(f"{RUN}/done"))

    def test_a_killed_program(self):
        self.program("train_kd", "kill -KILL $$")
        self.assertEqual(self.code(), 137)
        self.assertEqual(self.text(f"{RUN}/failed"), "exit code 137: killed by signal 9\n")

    def test_a_signal_stops_the_program_which_saves(self):
        self.program("train_kd", "trap 'sleep 0.5; touch saved; exit 129' HUP; trap 'exit 143' TERM; touch ready\n"
                     "while :; do sleep 0.05; done")
        with self.start() as job:
            self.wait_for(self.root / "ready")
            job.send_signal(signal.SIGINT)
            job.communicate()
            self.assertEqual(job.returncode, 130)
        self.assertEqual((self.text(f"{RUN}/failed"), self.text(f"{RUN}/done"), self.text("evaluated")),
                         (None, None, None))
        self.assertIsNotNone(self.text("saved"))

    def test_a_second_signal_ends_it_at_once(self):
        self.program("train_kd", "trap 'touch asked' HUP; trap 'exit 143' TERM; touch ready\n"
                     "while :; do sleep 0.05; done")
        with self.start() as job:
            self.wait_for(self.root / "ready")
            job.send_signal(signal.SIGTERM)
            self.wait_for(self.root / "asked")
            self.assertIsNone(job.poll())
            job.send_signal(signal.SIGTERM)
            job.communicate()
            self.assertEqual(job.returncode, 143)

    def test_it_stops_when_its_parent_is_gone(self):
        self.program("train_kd", "trap 'touch saved; exit 129' HUP; touch ready\nwhile :; do sleep 0.05; done")
        command = f"{sys.executable} -B {TRAIN} {self.plan} {RUN} & wait"
        parent = subprocess.Popen(["bash", "-c", command], cwd=self.root)
        self.wait_for(self.root / "ready")
        parent.kill()
        parent.wait()
        self.wait_for(self.root / "saved")
        with open(self.folder / ".job", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # until the job has ended
        self.assertIn("whoever started this is gone", self.text(f"{RUN}/job.log"))

    def test_one_job_at_a_time_also_behind_a_killed_one(self):
        """The program of a killed job goes on; the next job waits for its end."""
        self.program("train_kd", "touch began; while [ ! -e go ]; do sleep 0.05; done; touch ended")
        with self.start() as first:
            self.wait_for(self.root / "began")
            os.kill(first.pid, signal.SIGKILL)
            first.wait()
            plan = json.loads(self.plan.read_text(encoding="utf-8"))
            plan["runs"][0]["program"] = "second"
            self.plan.write_text(json.dumps(plan), encoding="utf-8")
            self.program("second", "test -e ended")
            with self.start() as second:
                time.sleep(0.5)
                self.assertIsNone(second.poll())
                (self.root / "go").touch()
                second.communicate()
                self.assertEqual(second.returncode, 0)

    def test_a_run_that_is_not_in_the_plan(self):
        self.assertEqual(self.code("students/b-2/seed0"), 2)
        self.assertIn("students/b-2/seed0 is no run of", self.errors)


if __name__ == "__main__":
    unittest.main()
