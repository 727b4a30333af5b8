#include <nccl.h>

#include <cstring>
#include <utility>

#include "core/error.h"
#include "cuda/communicator.h"
#include "cuda/handles.h"
#include "cuda/launch.h"

namespace generous::cuda {
namespace {

constexpr std::string_view purpose = "sums over processes";

void check(ncclResult_t status, std::string_view call) {
  if (status == ncclSuccess) return;
  const std::string details = ncclGetLastError(nullptr);
  fail("{}: {} failed: {}{}{}", purpose, call, ncclGetErrorString(status), details.empty() ? "" : ": ",
       details);
}

/// What follows on `later` begins when what is on `earlier` now is done.
void put_behind(cudaStream_t later, cudaStream_t earlier) {
  const Event reached = make_event();
  cuda::check(cudaEventRecord(reached.get(), earlier), purpose, "cudaEventRecord");
  cuda::check(cudaStreamWaitEvent(later, reached.get(), 0), purpose, "cudaStreamWaitEvent");
}

/// Calls in `calls` become one operation.
template <class Calls>
void at_once(const Calls& calls) {
  check(ncclGroupStart(), "ncclGroupStart");
  try {
    calls();
  } catch (...) {
    ncclGroupEnd();  // nothing of it is wanted, but the next one is to be one of its own
    throw;
  }
  check(ncclGroupEnd(), "ncclGroupEnd");
}

/// Keeps the tensors of a sum: nobody else may have their memory before it is done.
class SumOnStream : public Transfer {
 public:
  /// What has been put on `stream` last is the sum of `values`. Where `parts` has something, that is: those
  /// of each rank, still to be added up by `backend`.
  SumOnStream(std::vector<Tensor> values, std::vector<std::vector<Tensor>> parts, cudaStream_t stream,
              Backend& backend, cudaStream_t kernels)
      : values_(std::move(values)), parts_(std::move(parts)), backend_(backend), kernels_(kernels) {
    cuda::check(cudaEventRecord(done_.get(), stream), purpose, "cudaEventRecord");
  }
  /// Memory that is given back is that of whoever computes next.
  ~SumOnStream() override {
    if (!waited_) cudaStreamWaitEvent(kernels_, done_.get(), 0);
  }

  void progress() override {}

  void wait() override {
    cuda::check(cudaStreamWaitEvent(kernels_, done_.get(), 0), purpose, "cudaStreamWaitEvent");
    waited_ = true;
    for (std::size_t i = 0; i < values_.size() && !parts_.empty(); ++i) {
      backend_.copy(parts_[0][i], values_[i]);
      for (std::size_t rank = 1; rank < parts_.size(); ++rank)
        backend_.accumulate(parts_[rank][i], values_[i]);
    }
  }

 private:
  std::vector<Tensor> values_;
  std::vector<std::vector<Tensor>> parts_;
  Backend& backend_;
  cudaStream_t kernels_;
  Event done_ = make_event();
  bool waited_ = false;
};

class NcclCommunicator final : public Communicator {
 public:
  NcclCommunicator(const CommunicatorId& id, int rank, int size, Backend& backend, cudaStream_t kernels)
      : size_(size), backend_(backend), kernels_(kernels) {
    ncclUniqueId unique{};
    require(id.size() == sizeof unique.internal, "{}: an id of {} bytes, not {}", purpose, id.size(),
            sizeof unique.internal);
    std::memcpy(unique.internal, id.data(), id.size());
    ncclComm_t joined = nullptr;
    check(ncclCommInitRank(&joined, size, unique, rank), "ncclCommInitRank");
    communicator_.reset(joined);
  }

  std::unique_ptr<Transfer> start_sum(std::vector<Tensor> values, bool in_order) override {
    std::vector<std::vector<Tensor>> parts;
    if (in_order && size_ > 2)
      for (int rank = 0; rank < size_; ++rank) {
        parts.emplace_back();
        for (const Tensor& value : values)
          parts.back().push_back(Tensor::empty(value.shape(), DType::f32, Device::cuda));
      }
    put_behind(stream_.get(), kernels_);
    at_once([&] {
      for (std::size_t i = 0; i < values.size(); ++i) {
        const auto count = static_cast<std::size_t>(values[i].numel());
        auto* const value = data_of<float>(values[i]);
        if (parts.empty())
          check(ncclAllReduce(value, value, count, ncclFloat32, ncclSum, communicator_.get(), stream_.get()),
                "ncclAllReduce");
        for (std::size_t rank = 0; rank < parts.size(); ++rank)
          check(ncclBroadcast(value, data_of<float>(parts[rank][i]), count, ncclFloat32,
                              static_cast<int>(rank), communicator_.get(), stream_.get()),
                "ncclBroadcast");
      }
    });
    return std::make_unique<SumOnStream>(std::move(values), std::move(parts), stream_.get(), backend_,
                                         kernels_);
  }

 private:
  int size_;
  Backend& backend_;
  cudaStream_t kernels_;
  Stream stream_ = make_stream();
  Owner<ncclComm_t, ncclCommDestroy> communicator_;
};

}  // namespace

CommunicatorId make_communicator_id() {
  ncclUniqueId unique{};
  check(ncclGetUniqueId(&unique), "ncclGetUniqueId");
  CommunicatorId id(sizeof unique.internal);
  std::memcpy(id.data(), unique.internal, id.size());
  return id;
}

std::unique_ptr<Communicator> join_communicator(const CommunicatorId& id, int rank, int size,
                                                Backend& backend, cudaStream_t stream) {
  return std::make_unique<NcclCommunicator>(id, rank, size, backend, stream);
}

}  // namespace generous::cuda
