#!/usr/bin/env python3
"""Plants faults in the CUDA backend, one at a time, and tells which of its suites on the emulation find each.

    python3 tests/cuda_faults.py [FOLDER]      works on a copy of the tree in FOLDER (build-faults)

Exits 1 if a fault is not found, or no longer fits the source that it is planted in.
"""
import pathlib
import re
import shutil
import subprocess
import sys

SOURCE = pathlib.Path(__file__).resolve().parent.parent
SUITES_LAST = "^cuda_(training|apps)$"  # the longest, asked only where no other one finds the fault

# What is wrong, the file, and the text that is replaced.
FAULTS = [
    ("no barrier before a block's sums are added", "cuda/block_reduce.h",
     "of_warp[threadIdx.x / warp_size] = value;\n  __syncthreads();",
     "of_warp[threadIdx.x / warp_size] = value;"),
    ("no barrier before a block's sums are written again", "cuda/block_reduce.h",
     "  __syncthreads();  // what the previous call left here has been read by all\n", ""),
    ("no barrier between writing and reading sums of channels", "cuda/channel_sums.h",
     "    __syncthreads();  // the lines about to be read are complete\n", ""),
    ("no synchronisation before the host reads a copy", "cuda/memory.cpp",
     '    check(cudaStreamSynchronize(stream_), op, "cudaStreamSynchronize");\n', ""),
    ("a staging buffer is used again before its copy has run", "cuda/memory.cpp",
     '  check(cudaEventSynchronize(buffer.copied.get()), op, "cudaEventSynchronize");\n', ""),
    ("a leading dimension is the number of rows", "cuda/blas.cpp",
     "extent(b.size(1)), a.raw()", "extent(b.size(0)), a.raw()"),
    ("the host reads device memory", "cuda/cuda_backend.cpp",
     '  if (x.bytes() == 0) return;\n',
     '  if (x.bytes() == 0 || *static_cast<const volatile char*>(x.raw()) == 1) return;\n'),
    ("cuBLAS works on another stream", "cuda/blas.cpp",
     'check(cublasSetStream(handle_->cublas, stream)', 'check(cublasSetStream(handle_->cublas, nullptr)'),
    ("cuDNN works on another stream", "cuda/cudnn_convolutions.cpp",
     'check(cudnnSetStream(library_->handle.get(), stream)', 'check(cudnnSetStream(library_->handle.get(), nullptr)'),
    ("half the workspace that the algorithm asked for", "cuda/cudnn_convolutions.cpp",
     "static_cast<std::int64_t>(plan.workspace)", "static_cast<std::int64_t>(plan.workspace / 2)"),
    ("algorithms that are not deterministic where they should be", "cuda/cudnn_plan.cpp",
     "  if (choice.deterministic && !candidate.deterministic) return false;\n", ""),
    ("f32 may be rounded to TF32", "cuda/cudnn_plan.cpp",
     "exact(problem, choice) ? CUDNN_FMA_MATH : candidate.math", "candidate.math"),
    ("NHWC images described as NCHW", "cuda/cudnn_plan.cpp",
     "cudnnSetTensor4dDescriptor(images.get(), CUDNN_TENSOR_NHWC",
     "cudnnSetTensor4dDescriptor(images.get(), CUDNN_TENSOR_NCHW"),
]


def run(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)


def build(folder):
    done = run("cmake", "--build", folder, "--target", "cuda_suites")
    if done.returncode != 0:
        sys.exit(f"cuda_faults: does not build:\n{done.stdout[-3000:]}")


def failing(folder, *selection):
    """The suites that fail, by name."""
    done = run("ctest", "--test-dir", folder, "--timeout", "120", *selection)
    return re.findall(r"^\s*\d+ - (cuda_\w+) \(", done.stdout, re.MULTILINE)


def all_failing(folder):
    return (failing(folder, "-R", "^cuda_", "-E", SUITES_LAST + "|_libraries_|_runtime_|_streams_|_graphs_") or
            failing(folder, "-R", SUITES_LAST))


def main():
    place = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else SOURCE / "build-faults").resolve()
    tree, folder = place / "tree", str(place / "build")
    shutil.rmtree(tree, ignore_errors=True)
    for name in run("git", "-C", SOURCE, "ls-files").stdout.split("\n")[:-1]:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(SOURCE / name, tree / name)
    configured = run("cmake", "-S", tree, "-B", folder, "-G", "Ninja", "-DGENEROUS_CUDA=EMULATED")
    if configured.returncode != 0:
        sys.exit(f"cuda_faults: {configured.stdout}")
    build(folder)
    if wrong := all_failing(folder):
        sys.exit(f"cuda_faults: without a fault these fail: {', '.join(wrong)}")
    missed = 0
    for what, name, right, wrong in FAULTS:
        path = tree / name
        text = path.read_text(encoding="utf-8")
        if text.count(right) != 1:
            sys.exit(f"cuda_faults: {name} has {text.count(right)} places for '{what}'")
        path.write_text(text.replace(right, wrong), encoding="utf-8")
        build(folder)
        found = all_failing(folder)
        missed += not found
        print(f"{what} ({name}): {'found by ' + ', '.join(found) if found else 'NOT FOUND'}", flush=True)
        path.write_text(text, encoding="utf-8")
    sys.exit(missed > 0)


if __name__ == "__main__":
    main()
