"""The estimate of what is left: which epochs it rests on, and how many runs are at work together."""
import unittest

import shared  # noqa: F401  (finds apps/compare)
from plan import PlannedRun
from run import runs_at_once
from status import State, seconds_left, summary_line


def state(folder: str, kind: str, done: list[float], program: str = "train_kd", epochs: int = 4) -> State:
    return State(PlannedRun(folder, 0, None, program, [], [], "last", epochs), kind, len(done), done)


class EstimateTest(unittest.TestCase):
    def test_its_own_epochs_then_its_cells_then_its_programs(self):
        own = state("kd/a/seed0", "interrupted", [10.0])
        sibling = state("kd/a/seed1", "waiting", [])
        of_the_program = state("kd/b/seed0", "waiting", [])
        other = state("standard/c/seed0", "done", [50.0] * 4, "train_standard")
        self.assertEqual(seconds_left([own, other], 1), 3 * 10)
        self.assertEqual(seconds_left([own, sibling, other], 1), 3 * 10 + 4 * 10)
        self.assertEqual(seconds_left([own, of_the_program, other], 2), (3 * 10 + 4 * 10) / 2)
        self.assertEqual(seconds_left([other, of_the_program], 1), 4 * 50)
        self.assertIsNone(seconds_left([sibling], 1))

    def test_an_epoch_on_a_busy_machine_does_not_count(self):
        self.assertEqual(seconds_left([state("kd/a/seed0", "interrupted", [10.0, 900.0, 11.0], epochs=5)], 1), 2 * 11)

    def test_its_words(self):
        states = [state("kd/a/seed0", "done", [30.0] * 4), state("kd/a/seed1", "running", [30.0]),
                  state("kd/a/seed2", "failed", []), state("kd/a/seed3", "waiting", [])]
        self.assertEqual(summary_line(states, 1), "1 of 4 done, 1 running, 1 failed, 1 left; about 3:30 to go")


class AtOnceTest(unittest.TestCase):
    def test_cores_here_and_jobs_on_a_cluster(self):
        self.assertEqual(runs_at_once(2, 5, []), 2)
        self.assertEqual(runs_at_once(8, 5, []), 1)
        self.assertEqual(runs_at_once(2, 5, ["--slurm", "--jobs", "7"]), 7)
        self.assertEqual(runs_at_once(2, 5, ["--jobs=9", "--cluster", "sbatch"]), 9)
        self.assertEqual(runs_at_once(2, 5, ["-j12", "--executor=slurm"]), 12)
        self.assertEqual(runs_at_once(2, 5, ["--slurm", "--jobs", "unlimited"]), 2)


if __name__ == "__main__":
    unittest.main()
