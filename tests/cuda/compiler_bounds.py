#!/usr/bin/env python3
"""What the real compiler makes of every kernel of cuda/: its registers and memory, and how many blocks fit at once; no
arithmetic in double, of which many GPUs do 64 times less, and no rounding by integers in the kernels for bf16; and the
wait for the kernel before, ahead of any access to memory (cuda/begin_kernel.h). Needs nvcc and no GPU.

    python3 tests/cuda/compiler_bounds.py --nvcc /usr/local/cuda/bin/nvcc [--architecture sm_90] [FILE.cu ...]
"""

import argparse
import concurrent.futures
import dataclasses
import os
import pathlib
import re
import subprocess
import sys
import tempfile

SOURCES = pathlib.Path(__file__).resolve().parents[2]
FLAGS = ["-O3", "-DNDEBUG", "-DFMT_SHARED", "-DFMT_USE_CONSTEXPR=1", "-std=c++20", "--expt-relaxed-constexpr"]

# Of a multiprocessor of an H100.
REGISTERS = 65536
SHARED_BYTES = 228 * 1024
THREADS = 2048
# So two blocks of 256 threads fit on it at once, and four with their shared memory, which is at most what a kernel has
# without asking for more.
BLOCK_THREADS = 256
MOST_REGISTERS = 128
MOST_SHARED_BYTES = 48 * 1024
# Beside these a kernel keeps nothing in (slow) local memory.
STACK_FRAMES: dict[str, int] = {}


@dataclasses.dataclass
class Kernel:
    name: str
    registers: int = 0
    shared: int = 0
    stack: int = 0
    spilled: int = 0
    doubles: int = 0  # instructions
    integer_rounding: bool = False  # of an f32's bits to bf16: it adds half of the 16 that go, 0x7fff
    waits: bool = False  # for the kernel before it, first of all

    def blocks_at_once(self) -> int:
        """Of 256 threads on a multiprocessor. Registers are given out by eights, shared memory with 1 KiB beside it."""
        by_registers = REGISTERS // (BLOCK_THREADS * (-(-max(self.registers, 1) // 8) * 8))
        return min(THREADS // BLOCK_THREADS, by_registers, SHARED_BYTES // (self.shared + 1024))

    def faults(self) -> list[str]:
        found = []
        if self.spilled:
            found.append(f"spills {self.spilled} bytes of registers")
        if self.registers > MOST_REGISTERS:
            found.append(f"uses {self.registers} registers, more than {MOST_REGISTERS}")
        if self.shared > MOST_SHARED_BYTES:
            found.append(f"uses {self.shared} bytes of shared memory, more than {MOST_SHARED_BYTES}")
        if self.stack > STACK_FRAMES.get(plain_name(self.name), 0):
            found.append(f"keeps {self.stack} bytes in local memory")
        if self.doubles and "bfloat16" in self.name:
            found.append(f"has {self.doubles} instructions on doubles, though it is for bf16")
        if self.integer_rounding and "bfloat16" in self.name:
            found.append("rounds to bf16 by integer arithmetic")
        if not self.waits:
            found.append("touches memory before begin_kernel(), or does not call it")
        return found


def plain_name(mangled: str) -> str:
    """The kernel's own name, without namespaces and parameters."""
    found = re.search(r"\d+([a-z_]+_kernel)", mangled)
    return found.group(1) if found else mangled


def kernels_of(report: str, ptx: str) -> list[Kernel]:
    """From what ptxas says under -v, and the assembly that it was given."""
    kernels: dict[str, Kernel] = {}
    current = None
    for line in report.splitlines():
        if found := re.search(r"Compiling entry function '(\w+)'", line):
            current = kernels.setdefault(found.group(1), Kernel(found.group(1)))
        elif current is None:
            continue
        elif found := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores", line):
            current.stack, current.spilled = int(found.group(1)), int(found.group(2))
        elif found := re.search(r"Used (\d+) registers", line):
            current.registers = int(found.group(1))
            shared = re.search(r"(\d+) bytes smem", line)
            current.shared = int(shared.group(1)) if shared else 0
    for part in re.split(r"\.entry ", ptx)[1:]:
        name = re.match(r"\w+", part).group(0)
        kernels[name].doubles = len(re.findall(r"^\s*\w[\w.]*\.f64\b", part, re.MULTILINE))
        kernels[name].integer_rounding = re.search(r"^\s*add\.[su]32\b.*\b32767;", part, re.MULTILINE) is not None
        first = re.search(r"\bgriddepcontrol\.wait\b|\b(ld|st|atom|red)(\.\w+)*\.global\b", part)
        kernels[name].waits = first is not None and first.group(0) == "griddepcontrol.wait"
    return list(kernels.values())


def compile_one(nvcc: str, architecture: str, source: pathlib.Path, folder: str) -> list[Kernel]:
    keep = pathlib.Path(folder, source.stem)
    keep.mkdir()
    run = subprocess.run(
        [nvcc, *FLAGS, f"-arch={architecture}", "-Xptxas=-v", f"-I{SOURCES}", "-cubin", str(source), "-o",
         str(keep / "out.cubin"), "--keep", f"--keep-dir={keep}"],
        capture_output=True, text=True, check=False)
    if run.returncode != 0:
        sys.exit(f"{source.name} does not compile:\n{run.stdout}{run.stderr}")
    return kernels_of(run.stdout + run.stderr, (keep / f"{source.stem}.ptx").read_text())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nvcc", default="nvcc")
    parser.add_argument("--architecture", default="sm_90")
    parser.add_argument("sources", nargs="*", type=pathlib.Path)
    options = parser.parse_args()
    sources = options.sources or sorted(SOURCES.glob("cuda/*.cu"))
    faults = 0
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda source: compile_one(options.nvcc, options.architecture, source, folder), sources)
        for source, kernels in zip(sources, results):
            if not kernels:
                sys.exit(f"{source.name}: no kernels found: does ptxas report in another form?")
            most = max(kernels, key=lambda kernel: kernel.registers)
            shared = max(kernel.shared for kernel in kernels)
            blocks = min(kernel.blocks_at_once() for kernel in kernels)
            print(f"{source.name}: {len(kernels)} kernels, at most {most.registers} registers "
                  f"({plain_name(most.name)}) and {shared} bytes of shared memory, at least {blocks} blocks of "
                  f"{BLOCK_THREADS} threads at once")
            for kernel in kernels:
                for fault in kernel.faults():
                    print(f"  {kernel.name}\n    {fault}")
                    faults += 1
    print(f"{faults} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
