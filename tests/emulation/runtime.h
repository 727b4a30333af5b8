// The state of the emulated runtime: work on streams, captures, and the first error of the device.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "emulation.h"
#include "random.h"

namespace generous::emulation {

/// One recording of an event.
struct Record {
  bool done = false;
  double milliseconds = 0;
};

/// Thrown by device work that was given what only the host can use.
class IllegalArgument : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// What a stream is to do.
struct Work {
  enum class Kind { device, host, bookkeeping };
  Kind kind = Kind::bookkeeping;
  std::string name{};
  std::function<void()> run{};
  std::function<std::string()>
      describe{};  ///< which it is and where it was, after a failure; else its name is told
  std::shared_ptr<const Record> waits_for{};
  const void* function = nullptr;  ///< of a kernel
  std::uint64_t number = 0;        ///< in the order of the calls, over all streams
};

/// A stream's place in a capture: the nodes that what comes next has to wait for.
using Frontier = std::set<std::size_t>;

}  // namespace generous::emulation

struct CUgraphNode_st {
  generous::emulation::Work work;
  generous::emulation::Frontier after;
};

namespace generous::emulation {

using Nodes = std::vector<CUgraphNode_st>;

/// A graph that is being made of the work on streams.
struct Capture {
  unsigned long long id = 0;
  cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  std::thread::id thread;
  cudaStream_t origin = nullptr;
  bool invalid = false;
  Nodes nodes;
};

}  // namespace generous::emulation

struct CUstream_st {
  bool blocking = true;  ///< it and the legacy stream wait for each other
  std::deque<generous::emulation::Work> queue;
  std::shared_ptr<generous::emulation::Capture> capture;
  generous::emulation::Frontier frontier;
};

struct CUevent_st {
  bool timed = true;
  std::shared_ptr<generous::emulation::Record> record;  ///< the latest; null before the first
  std::weak_ptr<generous::emulation::Capture> capture;  ///< where it was recorded in one
  generous::emulation::Frontier frontier;
};

struct CUgraph_st {
  std::shared_ptr<generous::emulation::Nodes> nodes;
};

struct CUgraphExec_st {
  std::shared_ptr<const generous::emulation::Nodes> nodes;
};

namespace generous::emulation {

/// The handles of one kind that have been given out.
template <class Object>
class Handles {
 public:
  Object* add(std::unique_ptr<Object> object) {
    Object* const handle = object.get();
    return objects_[handle] = std::move(object), handle;
  }
  bool has(const Object* handle) const { return objects_.contains(const_cast<Object*>(handle)); }
  std::unique_ptr<Object> remove(Object* handle) {
    auto object = std::move(objects_.at(handle));
    objects_.erase(handle);
    return object;
  }
  auto begin() const { return objects_.begin(); }
  auto end() const { return objects_.end(); }

 private:
  std::map<Object*, std::unique_ptr<Object>> objects_;
};

class Runtime {
 public:
  Runtime();

  // Streams

  /// The stream that a handle means; null if there is none.
  CUstream_st* find(cudaStream_t handle);
  /// Puts work on a stream, or into the graph that is being captured there.
  cudaError_t submit(cudaStream_t handle, Work work);
  /// Runs what is ready, of all streams in random order, until `reached`, or nothing is.
  void run_until(const std::function<bool()>& reached);
  void run_all();
  /// Runs one piece of work that is ready, of any stream; false if there is none.
  bool advance();
  /// Waits for all that is on a stream; for the legacy one also for what it waits for.
  cudaError_t wait_for(cudaStream_t handle);
  /// Waits for everything; not allowed while anything is captured.
  cudaError_t wait_for_device();
  void execute(const Work& work);
  void run_graph(const Nodes& nodes);

  // Captures

  /// Where captures forbid this thread a call that a replay would not repeat, they get invalid.
  cudaError_t refuse_unsafe_call();
  /// What an operation that a capture does not allow returns.
  static cudaError_t refuse(Capture& capture, cudaError_t error);
  /// The captures of all streams.
  std::set<std::shared_ptr<Capture>> captures() const;

  // Errors

  /// Of device work: stays, and all that waits is dropped.
  void fail(cudaError_t error, const std::string& what);

  std::recursive_mutex mutex;
  Handles<CUstream_st> streams;
  std::vector<std::unique_ptr<CUstream_st>> destroyed;  ///< with work left
  Handles<CUevent_st> events;
  Handles<CUgraph_st> graphs;
  Handles<CUgraphExec_st> executables;
  CUstream_st legacy;
  Machine machine;
  Random random;
  cudaError_t error = cudaSuccess;  ///< sticky
  std::string fault;
  bool in_host_function = false;
  std::uint64_t numbered = 0;
  unsigned long long captured = 0;
  std::shared_ptr<const Nodes> last_graph;  ///< that a capture ended in
  std::map<std::string, std::int64_t, std::less<>> calls, runs;
  std::set<const void*> loaded;  ///< kernels that have been launched outside captures
  std::map<std::string, std::map<std::int64_t, cudaError_t>, std::less<>> failing_calls;  ///< by number
  std::map<std::int64_t, cudaError_t> failing_work;
  std::int64_t device_work = 0;

 private:
  std::vector<CUstream_st*> all_streams() const;
  bool is_ready(const CUstream_st& stream) const;
  void run_device_work(const Work& work);
};

Runtime& runtime();

/// The last error of calls of this thread.
cudaError_t& last_error();

/// What holds for a call of the runtime.
enum Rules : unsigned {
  plain = 0,
  unsafe = 1,          ///< not allowed while streams are captured, unless the capture says otherwise
  releases = 2,        ///< does its work even when the device has failed
  without_device = 4,  ///< answers without one
};

/// Whether the call may go on; if not, what it returns.
cudaError_t begin_call(const char* function, unsigned rules);
cudaError_t end_call(cudaError_t result);

/// Every call of the runtime: counted, one at a time, and refused where it has to be.
template <class Body>
cudaError_t call(const char* function, unsigned rules, Body&& body) {
  const std::lock_guard lock(runtime().mutex);
  cudaError_t result = begin_call(function, rules);
  const bool failed_before = runtime().error != cudaSuccess && result == runtime().error;
  if (result == cudaSuccess || (failed_before && (rules & releases) != 0)) {
    const cudaError_t own = body();
    if (result == cudaSuccess) result = own;
  }
  return end_call(result);
}

}  // namespace generous::emulation
