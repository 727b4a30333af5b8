"""Virtual environments with packages from PyPI, for tests that ask other programs.

Where they cannot be had, such a test is skipped: exit code 77, and a line that says why; with
GENEROUS_PYPI_REQUIRED=1 in the environment it fails.
"""

import os
import subprocess
import sys

SKIPPED = 77


def _skip(test, reason):
    print(f"{test}: skipped: {' '.join(reason.split())}")
    sys.exit(1 if os.environ.get("GENEROUS_PYPI_REQUIRED") == "1" else SKIPPED)


def python_with(packages, environment, test):
    """The interpreter of the virtual environment in the folder `environment`, which is made if it is not there, and
    made whole if it is not. `test` begins what is said."""
    python = environment / "bin" / "python"
    done = environment / "done"
    if done.exists():
        return python
    made = subprocess.run([sys.executable, "-m", "venv", "--clear", environment], capture_output=True, text=True)
    if made.returncode != 0:
        _skip(test, f"no virtual environment (python3-venv is missing?): {made.stdout.strip()[-200:]}")
    installed = subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], capture_output=True, text=True)
    if installed.returncode != 0:
        _skip(test, f"PyPI's {', '.join(packages)} cannot be installed: {installed.stderr.strip()[-200:]}")
    done.touch()
    return python
