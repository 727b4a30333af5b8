#!/usr/bin/env python3
"""A table of the kernels of one training step, from what ncu --csv --page raw printed for a few steps.

  python3 tests/gpu/kernels.py LOG
A step is what lies between the ends of two steps' last kernels of the optimiser; where there are no two, all of the
log is taken. Columns: launches, time in microseconds and its share, the busiest memory's and the warps' share of what
the GPU has, means weighted by time.
"""
import csv
import re
import sys

TIME = "gpu__time_duration.sum"
MEMORY = "dram__throughput.avg.pct_of_peak_sustained_elapsed"
WARPS = "sm__warps_active.avg.pct_of_peak_sustained_active"
OPTIMISER = re.compile("sgd|adam", re.IGNORECASE)


def launches(lines):
    """Of every launch: name, nanoseconds, share of memory's peak, share of warps."""
    begin = next((i for i, line in enumerate(lines) if line.startswith('"ID"')), None)
    if begin is None:
        sys.exit("kernels.py: ncu printed no table: " + (lines[-1].strip() if lines else "nothing"))
    number = lambda text: float(text.replace(",", "") or "nan")
    table = csv.DictReader(line for line in lines[begin:] if line.startswith('"'))
    return [(row["Kernel Name"], number(row[TIME]), number(row[MEMORY]), number(row[WARPS]))
            for row in table if row["ID"]]  # the row behind the head has the units


def one_step(rows):
    """The rows of one whole step, if there is one."""
    optimiser = [i for i, row in enumerate(rows) if OPTIMISER.search(row[0])]
    ends = [i for i, following in zip(optimiser, optimiser[1:] + [len(rows)]) if following != i + 1]
    if len(ends) < 2:
        return rows, "no whole step: all launches"
    return rows[ends[0] + 1:ends[1] + 1], "one step"


def short(name):
    """A kernel's name without return type, namespaces and arguments."""
    name = re.sub(r"\(anonymous namespace\)::|<unnamed>::|generous::cuda::|generous::|^void ", "", name)
    depth = 0
    for i, letter in enumerate(name):
        depth += (letter == "<") - (letter == ">" and depth > 0)
        if letter == "(" and depth == 0:
            name = name[:i]
            break
    return name if len(name) <= 80 else name[:77] + "..."


def main():
    with open(sys.argv[1], encoding="utf-8", errors="replace") as file:
        rows, what = one_step(launches(file.readlines()))
    groups = {}
    for name, time, memory, warps in rows:
        group = groups.setdefault(short(name), [0, 0.0, 0.0, 0.0])
        for i, value in enumerate((1, time, time * memory, time * warps)):
            group[i] += value
    total = sum(group[1] for group in groups.values())
    print(f"{what}: {len(rows)} kernels, {total / 1e3:.1f} us")
    print(f"{'launches':>8} {'us':>9} {'share':>7} {'memory':>7} {'warps':>7}  kernel")
    for name, (count, time, memory, warps) in sorted(groups.items(), key=lambda group: -group[1][1]):
        print(f"{count:8} {time / 1e3:9.1f} {100 * time / total:5.1f} % {memory / time:5.0f} % {warps / time:5.0f} %  {name}")


if __name__ == "__main__":
    main()
