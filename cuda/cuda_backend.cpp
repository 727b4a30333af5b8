#include "cuda/cuda_backend.h"

#include <algorithm>

#include "cuda/communicator.h"
#include "cuda/graph.h"
#include "cuda/make_cuda_backend.h"
#include "cuda/parts.h"

namespace generous {

std::unique_ptr<Backend> make_cuda_backend(int number) { return std::make_unique<cuda::CudaBackend>(number); }

namespace cuda {
namespace {

void require_outside_recording(bool recording, std::string_view op) {
  require(!recording,
          "{}: recorded work may not wait for the GPU or read host memory: a replay would not repeat it", op);
}

}  // namespace

CudaBackend::Parts::Parts(CudaBackend& backend, int number)
    : gpu(choose_gpu(number)),
      shadows([&backend](const Tensor& x, Tensor& y) {
        x.shape() == y.shape() ? backend.cast(x, y) : backend.pad(x, y);
      }),
      overlap(kernels_may_overlap(gpu.major, stream.get())) {
  const auto clear = [this](const Storage& storage, std::size_t bytes) {
    check(cudaMemsetAsync(storage.block(), 0, bytes, stream.get()), "CUDA", "cudaMemsetAsync");
  };
  clear(tickets, most_tickets * sizeof(unsigned));
  clear(zeros, bytes_of_zeros);
}

CudaBackend::CudaBackend(int number) : parts_(std::make_unique<Parts>(*this, number)) {}

CudaBackend::~CudaBackend() = default;

std::string CudaBackend::description() const {
  const Gpu& gpu = parts_->gpu;
  return fmt::format("{} (sm_{}{}, CUDA {}, {})", gpu.name, gpu.major, gpu.minor, gpu.runtime,
                     Convolutions::library());
}

std::string CudaBackend::why_no_bf16() const { return ""; }  // choose_gpu() takes none without it

void CudaBackend::choose_algorithms(const AlgorithmChoice& choice) {
  parts_->choice = choice;
  parts_->convolutions.choose(choice);
}

cudaStream_t CudaBackend::stream() const { return parts_->stream.get(); }

void CudaBackend::launched(std::string_view op) {
  if (parts_->choice.op_by_op && !parts_->recording()) wait_for(stream(), op);
}

std::int64_t CudaBackend::blocks_at_once(const void* kernel, int threads) {
  std::int64_t& blocks = parts_->blocks_at_once[kernel];
  if (blocks == 0) {
    int of_one = 0;
    check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&of_one, kernel, threads, 0), "CUDA",
          "cudaOccupancyMaxActiveBlocksPerMultiprocessor");
    blocks = std::int64_t{std::max(of_one, 1)} * parts_->gpu.multiprocessors;
  }
  return blocks;
}

std::int64_t CudaBackend::place() const { return parts_->place(); }

bool CudaBackend::overlap() const { return parts_->overlap; }

unsigned* CudaBackend::tickets() { return static_cast<unsigned*>(parts_->tickets.block()); }

void CudaBackend::synchronize() {
  require_outside_recording(parts_->recording(), "synchronize");
  check(cudaStreamSynchronize(stream()), "synchronize", "cudaStreamSynchronize");
}

std::unique_ptr<RecordedWork> CudaBackend::record(const std::function<void()>& work) {
  require_outside_recording(parts_->recording(), "record");
  synchronize();  // what went wrong before is not put down to the recording
  struct Recording {
    Parts& parts;
    explicit Recording(Parts& of) : parts(of) {
      parts.pool = make_private_pool(parts.memory);
      ++parts.recordings;
      parts.shadows.begin_recording();
    }
    ~Recording() {
      parts.pool = nullptr;
      parts.shadows.end_recording();
    }
  };
  std::unique_ptr<RecordedGraph> recorded;
  {
    const Recording recording(*parts_);
    recorded =
        std::make_unique<RecordedGraph>(capture(stream(), work), parts_->pool, stream(), parts_->shadows);
  }
  recorded->replay();  // capturing has run nothing
  return recorded;
}

std::string CudaBackend::device_id() const { return parts_->gpu.pci_bus_id; }

CommunicatorId CudaBackend::make_communicator_id() { return cuda::make_communicator_id(); }

std::unique_ptr<Communicator> CudaBackend::connect(const CommunicatorId& id, int rank, int size) {
  return join_communicator(id, rank, size, *this, stream());
}

const std::shared_ptr<CachingAllocator>& CudaBackend::allocator() const {
  return parts_->recording() ? parts_->pool : parts_->memory;
}

Shadows& CudaBackend::shadows() { return parts_->shadows; }

void CudaBackend::copy_to_host(const Tensor& x, void* host) {
  require_outside_recording(parts_->recording(), "copy_to_host");
  parts_->staging.to_host("copy_to_host", x.raw(), host, x.bytes());
}

void CudaBackend::copy_from_host(const void* host, Tensor& y) {
  require_outside_recording(parts_->recording(), "copy_from_host");
  written(y);
  parts_->staging.to_device("copy_from_host", host, y.raw(), y.bytes());
  launched("copy_from_host");
}

void CudaBackend::copy(const Tensor& x, Tensor& y) {
  if (x.bytes() == 0) return;
  written(y);
  check(cudaMemcpyAsync(y.raw(), x.raw(), x.bytes(), cudaMemcpyDeviceToDevice, stream()), "copy",
        "cudaMemcpyAsync");
  launched("copy");
}

}  // namespace cuda
}  // namespace generous
