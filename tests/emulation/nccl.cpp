// NCCL for machines without GPUs: the work of a communicator lies on a stream as that of a GPU does, and
// travels between processes by MPI. A process whose device runs it waits there for those of the others.
#include <mpi.h>
#include <nccl.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "libraries.h"
#include "library_arithmetic.h"
#include "memory.h"
#include "runtime.h"

struct ncclComm {
  int rank = 0;
  int size = 1;
  MPI_Comm processes = MPI_COMM_NULL;  ///< of a communicator of several
};

namespace generous::emulation {
namespace {

struct Call {
  const float* from;
  float* to;
  std::size_t count;
  int root;  ///< of a broadcast; -1: all reduce
  ncclComm_t communicator;
  cudaStream_t stream;
};

// Of this thread
thread_local int groups = 0;  ///< that have been started and not ended
thread_local std::vector<Call> grouped;
thread_local std::string last_failure;

ncclResult_t refuse(ncclResult_t result, std::string why) {
  last_failure = std::move(why);
  return result;
}

void require_memory(const float* values, std::size_t count) {
  if (memory().containing(values, count * sizeof(float)) == nullptr)
    throw IllegalArgument("nccl: what it was given reaches beyond an allocation of the device");
}

/// What all processes have, added up in an order that changes from place to place, as around a ring.
std::vector<float> sum_of_all(const std::vector<float>& own, const ncclComm& communicator) {
  if (communicator.size == 1) return own;
  const auto size = static_cast<std::size_t>(communicator.size);
  std::vector<float> all(own.size() * size);
  const int count = static_cast<int>(own.size());
  PMPI_Allgather(own.data(), count, MPI_FLOAT, all.data(), count, MPI_FLOAT, communicator.processes);
  std::vector<float> sums(own.size());
  for (std::size_t i = 0; i < own.size(); ++i) {
    const std::size_t first = i * size / own.size() + 1;
    float sum = 0.0F;
    for (std::size_t k = 0; k < size; ++k) {
      const float value = all[(first + k) % size * own.size() + i];
      sum = k == 0 ? value : sum + value;
    }
    sums[i] = sum;
  }
  return sums;
}

/// The calls of a group, which are one operation: what one of them writes no other one may read. As two
/// pieces of device work, between which other streams' may run: until the end nothing of use is where the
/// results will be.
class Operation {
 public:
  explicit Operation(std::vector<Call> calls) : calls_(std::move(calls)) {}

  void begin() {
    values_.clear();
    for (const Call& call : calls_) {
      require_memory(call.to, call.count);
      values_.emplace_back(call.count);
      if (call.root >= 0 && call.root != call.communicator->rank) continue;
      require_memory(call.from, call.count);
      std::copy_n(call.from, call.count, values_.back().begin());
    }
    for (const Call& call : calls_) poison(call.to, call.count * sizeof(float));
  }

  void end() {
    for (std::size_t i = 0; i < calls_.size(); ++i) {
      const ncclComm& communicator = *calls_[i].communicator;
      if (calls_[i].root < 0)
        values_[i] = sum_of_all(values_[i], communicator);
      else if (communicator.size > 1)
        PMPI_Bcast(values_[i].data(), static_cast<int>(values_[i].size()), MPI_FLOAT, calls_[i].root,
                   communicator.processes);
    }
    for (std::size_t i = 0; i < calls_.size(); ++i) std::ranges::copy(values_[i], calls_[i].to);
  }

 private:
  std::vector<Call> calls_;
  std::vector<std::vector<float>> values_;
};

ncclResult_t put_on_stream(std::vector<Call> calls) {
  if (calls.empty()) return ncclSuccess;
  const cudaStream_t stream = calls[0].stream;
  for (const Call& call : calls)
    if (call.stream != stream) return refuse(ncclInvalidUsage, "a group on several streams");
  const auto operation = std::make_shared<Operation>(std::move(calls));
  const bool accepted = submit(stream, "nccl", [operation] { operation->begin(); }) &&
                        submit(stream, "nccl end", [operation] { operation->end(); });
  return accepted ? ncclSuccess : ncclUnhandledCudaError;
}

ncclResult_t take(const char* function, ncclDataType_t type, const Call& call) {
  if (const int status = planned_failure(function)) return static_cast<ncclResult_t>(status);
  if (call.communicator == nullptr) return refuse(ncclInvalidArgument, "no communicator");
  if (type != ncclFloat32 || call.root >= call.communicator->size)
    return refuse(ncclInvalidArgument, "a type or a root that is not emulated");
  if (groups == 0) return put_on_stream({call});
  grouped.push_back(call);
  return ncclSuccess;
}

using DeviceName = std::array<char, MPI_MAX_PROCESSOR_NAME + 16>;

DeviceName name_of_current_device() {
  DeviceName name{};
  int length = 0;
  PMPI_Get_processor_name(name.data(), &length);
  int device = 0;
  cudaGetDevice(&device);
  std::to_string(device).copy(name.data() + length + 1, 15);
  return name;
}

/// Whether all have one id and each a device of its own.
ncclResult_t examine(const ncclComm& communicator, const ncclUniqueId& id) {
  const auto size = static_cast<std::size_t>(communicator.size);
  std::vector<ncclUniqueId> ids(size);
  PMPI_Allgather(&id, sizeof id, MPI_BYTE, ids.data(), sizeof id, MPI_BYTE, communicator.processes);
  for (const ncclUniqueId& other : ids)
    if (std::memcmp(&other, &id, sizeof id) != 0) return refuse(ncclInvalidArgument, "ids differ");
  const DeviceName own = name_of_current_device();
  std::vector<DeviceName> names(size);
  PMPI_Allgather(&own, sizeof own, MPI_BYTE, names.data(), sizeof own, MPI_BYTE, communicator.processes);
  std::ranges::sort(names);
  if (std::ranges::adjacent_find(names) != names.end())
    return refuse(ncclInvalidUsage, "two ranks have the same GPU");
  return ncclSuccess;
}

}  // namespace
}  // namespace generous::emulation

using namespace generous::emulation;

const char* ncclGetErrorString(ncclResult_t result) {
  switch (result) {
    case ncclSuccess:
      return "no error";
    case ncclUnhandledCudaError:
      return "a call of CUDA failed";
    case ncclInvalidArgument:
      return "invalid argument";
    case ncclInvalidUsage:
      return "invalid usage";
    default:
      return "the library failed";
  }
}

const char* ncclGetLastError(ncclComm_t /*communicator*/) { return last_failure.c_str(); }

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  if (const int status = planned_failure("ncclGetUniqueId")) return static_cast<ncclResult_t>(status);
  std::random_device random;
  for (char& byte : id->internal) byte = static_cast<char>(random());
  return ncclSuccess;
}

ncclResult_t ncclCommInitRank(ncclComm_t* communicator, int ranks, ncclUniqueId id, int rank) {
  if (const int status = planned_failure("ncclCommInitRank")) return static_cast<ncclResult_t>(status);
  if (!has_device()) return refuse(ncclUnhandledCudaError, "no device");
  if (rank < 0 || rank >= ranks) return refuse(ncclInvalidArgument, "rank");
  auto made = std::make_unique<ncclComm>(ncclComm{.rank = rank, .size = ranks});
  if (ranks > 1) {
    int processes = 0;
    PMPI_Comm_size(MPI_COMM_WORLD, &processes);
    if (processes != ranks) return refuse(ncclInvalidArgument, "not all processes");
    PMPI_Comm_dup(MPI_COMM_WORLD, &made->processes);
    if (const ncclResult_t status = examine(*made, id); status != ncclSuccess) return status;
  }
  *communicator = made.release();
  return ncclSuccess;
}

ncclResult_t ncclCommDestroy(ncclComm_t communicator) {
  if (communicator == nullptr) return ncclInvalidArgument;
  cudaDeviceSynchronize();  // an error of earlier work stays for whoever asks next
  if (communicator->size > 1) PMPI_Comm_free(&communicator->processes);
  delete communicator;
  return ncclSuccess;
}

ncclResult_t ncclGroupStart() {
  ++groups;
  return ncclSuccess;
}

ncclResult_t ncclGroupEnd() {
  if (groups == 0) return refuse(ncclInvalidUsage, "no group was started");
  if (--groups > 0) return ncclSuccess;
  return put_on_stream(std::exchange(grouped, {}));
}

ncclResult_t ncclAllReduce(const void* from, void* to, std::size_t count, ncclDataType_t type,
                           ncclRedOp_t operation, ncclComm_t communicator, cudaStream_t stream) {
  if (operation != ncclSum) return refuse(ncclInvalidArgument, "an operation that is not emulated");
  return take("ncclAllReduce", type,
              {static_cast<const float*>(from), static_cast<float*>(to), count, -1, communicator, stream});
}

ncclResult_t ncclBroadcast(const void* from, void* to, std::size_t count, ncclDataType_t type, int root,
                           ncclComm_t communicator, cudaStream_t stream) {
  if (root < 0) return refuse(ncclInvalidArgument, "root");
  return take("ncclBroadcast", type,
              {static_cast<const float*>(from), static_cast<float*>(to), count, root, communicator, stream});
}

/// In the place of MPI's: while a process waits for others, its device goes on, as a GPU does by itself.
int MPI_Test(MPI_Request* request, int* done, MPI_Status* status) {
  {
    const std::lock_guard lock(runtime().mutex);
    bool advanced = false;
    runtime().run_until([&] { return std::exchange(advanced, true); });
  }
  return PMPI_Test(request, done, status);
}
