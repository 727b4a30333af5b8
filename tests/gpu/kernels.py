#!/usr/bin/env python3
"""Tables of the kernels of one training step, from what kernel_times.cpp wrote: one for each process.

  python3 tests/gpu/kernels.py FOLDER_OR_FILE...
A step is what lies between the ends of two steps' last kernels of the optimiser; the median one of the later half is
shown. A kernel's time is by how much it moves the end on: one that comes in while the one before it still runs counts
from that one's end. Idle is what lies between. Columns: launches, microseconds and their share, registers of a
thread, blocks (several numbers: the smallest and the largest).
"""
import csv
import re
import sys
from pathlib import Path

OPTIMISER = re.compile("sgd|adam", re.IGNORECASE)


class Launch:
    def __init__(self, row, end_before):
        begin, end = int(row["begin_ns"]), int(row["end_ns"])
        self.name, self.blocks, self.registers = short(row["name"]), int(row["blocks"]), row["registers"]
        self.end = max(end, end_before)
        self.idle = max(0, begin - end_before) if end_before else 0
        self.time = max(0, end - max(begin, end_before))
        self.ends_step = bool(OPTIMISER.search(row["name"]))


def launches(path):
    with open(path, encoding="utf-8", errors="replace", newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: int(row["begin_ns"]))
    end, found = 0, []
    for row in rows:
        found.append(Launch(row, end))
        end = found[-1].end
    return found


def one_step(all_launches):
    """The launches of the median step of the later half, and what they are."""
    ends = [i for i, launch in enumerate(all_launches)
            if launch.ends_step and not (i + 1 < len(all_launches) and all_launches[i + 1].ends_step)]
    steps = [all_launches[a + 1:b + 1] for a, b in zip(ends, ends[1:])]
    if not steps:
        return all_launches, "no whole step: all launches"
    later = sorted(steps[len(steps) // 2:], key=lambda step: sum(launch.time + launch.idle for launch in step))
    return later[len(later) // 2], f"one of {len(steps)} steps"


def short(name):
    """A kernel's name without return type, namespaces and arguments."""
    name = re.sub(r"\(anonymous namespace\)::|<unnamed>::|generous::cuda::|generous::|at::native::|^void ", "", name)
    depth = 0
    for i, letter in enumerate(name):
        depth += (letter == "<") - (letter == ">" and depth > 0)
        if letter == "(" and depth == 0:
            name = name[:i]
            break
    return name if len(name) <= 110 else name[:107] + "..."


def span(numbers):
    return str(min(numbers)) if min(numbers) == max(numbers) else f"{min(numbers)}-{max(numbers)}"


def table(path):
    found = launches(path)
    if not found:
        return
    step, what = one_step(found)
    busy, idle = sum(launch.time for launch in step), sum(launch.idle for launch in step)
    print(f"{what}: {len(step)} kernels, {busy / 1e3:.1f} us, {idle / 1e3:.1f} us idle between them")
    groups = {}
    for launch in step:
        groups.setdefault(launch.name, []).append(launch)
    print(f"{'launches':>8} {'us':>9} {'share':>7} {'registers':>9} {'blocks':>13}  kernel")
    for name, group in sorted(groups.items(), key=lambda item: -sum(launch.time for launch in item[1])):
        time = sum(launch.time for launch in group)
        print(f"{len(group):8} {time / 1e3:9.1f} {100 * time / max(busy, 1):5.1f} % {group[0].registers:>9} "
              f"{span([launch.blocks for launch in group]):>13}  {name}")


def main():
    paths = [path for name in sys.argv[1:] for path in ([Path(name)] if Path(name).is_file() else
             sorted(Path(name).glob("*.csv"), key=lambda path: int(path.stem)))]
    for path in paths:
        table(path)


if __name__ == "__main__":
    main()
