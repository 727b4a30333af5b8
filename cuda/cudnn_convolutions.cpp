// The convolutions of the CUDA backend by cuDNN: a plan for each problem that was met.

#include <algorithm>
#include <map>
#include <vector>

#include "core/backend.h"
#include "cuda/convolutions.h"
#include "cuda/cudnn_plan.h"

namespace generous::cuda {
namespace {

constexpr std::size_t oldest_version = 90000;

/// The problem in numbers.
using Key = std::vector<std::int64_t>;

Key key_of(const ConvolutionProblem& problem) {
  Key key{static_cast<std::int64_t>(problem.direction), static_cast<std::int64_t>(problem.dtype),
          problem.params.stride, problem.params.padding, problem.params.groups};
  for (const Shape* shape : {&problem.x, &problem.weight, &problem.y})
    key.insert(key.end(), shape->dims().begin(), shape->dims().end());
  return key;
}

/// Half of what there is still, a GiB at most.
WorkspaceLimit workspace_limit() {
  const CachingAllocator& memory = *backend(Device::cuda).allocator();
  WorkspaceLimit limit;
  if (const auto free = memory.free_bytes())
    limit.bytes = std::min(limit.bytes, (*free + memory.statistics().cached_bytes) / 2);
  return limit;
}

}  // namespace

std::string_view name_of(Direction direction) {
  switch (direction) {
    case Direction::backward_data:
      return "conv2d_backward_data";
    case Direction::backward_weight:
      return "conv2d_backward_weight";
    default:
      return "conv2d";
  }
}

struct Convolutions::Library {
  cudaStream_t stream;
  LibraryHandle handle;
  AlgorithmChoice choice{};
  std::map<Key, std::optional<ConvolutionPlan>> plans{};  ///< nothing: no algorithm
};

Convolutions::Convolutions(cudaStream_t stream) {
  if (cudnnGetVersion() < oldest_version)
    fail("no CUDA backend: it needs cuDNN 9, and {} is installed; the device cpu is available", library());
  library_ = std::make_unique<Library>(Library{.stream = stream, .handle = make<LibraryHandle>(cudnnCreate)});
  check(cudnnSetStream(library_->handle.get(), stream), "cuDNN", "cudnnSetStream");
}

Convolutions::~Convolutions() = default;

// From version 9 on: 10000 * major + 100 * minor + patch; before: 1000 * major.
std::string Convolutions::library() {
  const std::size_t version = cudnnGetVersion();
  return version < oldest_version ? fmt::format("cuDNN {}.{}", version / 1000, version % 1000 / 100)
                                  : fmt::format("cuDNN {}.{}", version / 10000, version % 10000 / 100);
}

void Convolutions::choose(const AlgorithmChoice& choice) {
  library_->choice = choice;
  library_->plans.clear();
}

bool Convolutions::can(const ConvolutionProblem& problem, bool recording) {
  const Key key = key_of(problem);
  const auto found = library_->plans.find(key);
  if (found != library_->plans.end()) return found->second.has_value();
  require(!recording || library_->choice.convolutions != ConvolutionChoice::measured,
          "{}: its algorithms can't be measured while work is recorded: run the same work once before",
          name_of(problem.direction));
  auto planned = plan(library_->handle.get(), library_->stream, problem, library_->choice, workspace_limit());
  return library_->plans.emplace(key, std::move(planned)).first->second.has_value();
}

void Convolutions::run(const ConvolutionProblem& problem, const ConvolutionOperands& operands) {
  const ConvolutionPlan& plan = *library_->plans.at(key_of(problem));
  // In the order of the stream whoever gets the block next comes after this convolution.
  const Tensor workspace =
      Tensor::empty({static_cast<std::int64_t>(plan.workspace)}, DType::u8, Device::cuda);
  execute(library_->handle.get(), plan, problem.direction, operands, workspace.raw());
}

}  // namespace generous::cuda
