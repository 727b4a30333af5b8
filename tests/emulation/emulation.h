// What tests can ask of the emulated CUDA runtime beyond what CUDA offers: another device, errors at will,
// and what happened.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace generous::emulation {

/// What the emulated machine has. Changes hold from the next call on.
struct Machine {
  /// Alike, and of one memory; with 0 calls return cudaErrorNoDevice. The environment variable
  /// GENEROUS_EMULATION_DEVICES has another number for the start of the program.
  int devices = 1;
  int driver_version =
      13000;                 ///< before the runtime's major version calls return cudaErrorInsufficientDriver
  int major = 9, minor = 0;  ///< the compute capability
  std::size_t memory = std::size_t{8} << 30;  ///< bytes of the device; what is allocated already stays
  int code_major = 9, code_minor = 0;         ///< what the kernels were compiled for
  bool records_overlap = true;  ///< otherwise launches that may overlap are refused in a capture
  bool lazy_loading = false;    ///< kernels are loaded when they are first launched, which breaks a capture
};
Machine& machine();

/// How a process ends that calls the runtime when that has been taken down at exit.
inline constexpr int exit_status_of_late_calls = 99;

/// As at the start of the program: the default Machine, no errors to come or pending, counters at 0. Work
/// that waits in streams is dropped, captures are ended; streams, events, graphs and memory stay valid.
void reset();

/// The order of streams, blocks and threads follows from the seed. At the start it is taken from the
/// environment variable GENEROUS_EMULATION_SEED, or 0.
void set_seed(std::uint64_t seed);

/// Makes the `nth` call (1: the next one) of a function of the runtime, such as "cudaMalloc", return `error`
/// without doing anything else.
void fail_call(std::string_view function, std::int64_t nth, cudaError_t error);
/// Makes the `nth` piece of device work to run from now on (kernel, copy, memset, library call; 1: the next
/// one) fail with `error`, as if the device had found it while running.
void fail_work(std::int64_t nth, cudaError_t error);

/// How often a function of the runtime has been called.
std::int64_t calls(std::string_view function);
/// How often device work of this name has run: "kernel", "copy", "memset", "host function", or what a library
/// calls it.
std::int64_t runs(std::string_view work);
/// A node of a captured graph.
struct GraphNode {
  std::string name;      ///< as `runs` has it
  const void* function;  ///< of a kernel; otherwise null
};
/// Those of the graph that the latest capture ended in.
std::vector<GraphNode> last_graph();
/// How many pieces of work wait in streams.
std::int64_t pending();

/// What the first error of device work since the last reset() was, for people; empty if there was none.
std::string last_fault();

struct Usage {
  std::int64_t allocations = 0;  ///< that have not been freed
  std::size_t bytes = 0;
};
Usage device_memory();
Usage pinned_memory();

}  // namespace generous::emulation
