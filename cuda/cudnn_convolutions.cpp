// The convolutions of the CUDA backend by cuDNN: for each problem that was met, the plans that may compute
// it.

#include <algorithm>
#include <array>
#include <deque>
#include <map>
#include <vector>

#include "core/backend.h"
#include "cuda/check.h"
#include "cuda/convolutions.h"
#include "cuda/cudnn_graph.h"
#include "cuda/handles.h"

namespace generous::cuda {
namespace {

constexpr std::size_t oldest_version = 90000;
/// How many plans of a problem are timed where the fastest one is wanted, and how often.
constexpr std::size_t timed_plans = 8;
/// The same where it is compiled first, which takes most of a second.
constexpr std::size_t timed_plans_with_sums = 1;
constexpr int timed_runs = 3;

using LibraryHandle = Owner<cudnnHandle_t, cudnnDestroy>;

/// The problem in numbers.
using Key = std::vector<std::int64_t>;

Key key_of(const ConvolutionProblem& problem) {
  const ConvolutionEpilogue& epilogue = problem.epilogue;
  Key key{static_cast<std::int64_t>(problem.direction),
          static_cast<std::int64_t>(problem.dtype),
          problem.params.stride,
          problem.params.padding,
          problem.params.groups,
          std::int64_t{epilogue.bias},
          std::int64_t{epilogue.residual},
          std::int64_t{problem.adds},
          std::int64_t{problem.sums},
          static_cast<std::int64_t>(epilogue.activation)};
  for (const Shape* shape : {&problem.x, &problem.weight, &problem.y})
    key.insert(key.end(), shape->dims().begin(), shape->dims().end());
  return key;
}

/// What a kernel did wrong is not put down to the library.
void require_device(std::string_view op) { check(cudaPeekAtLastError(), op, "cuDNN"); }

/// Returns where the library says no to what was asked; throws Error for all else that went wrong.
void require_refusal(const CudnnError& error, std::string_view op) {
  require_device(op);
  if (!error.refusal()) fail("{}: {}", op, error.what());
}

Tensor workspace_for(const Plan& plan) {
  return Tensor::empty({static_cast<std::int64_t>(plan.workspace)}, DType::u8, Device::cuda);
}

/// Memory of its own for a problem: plans are timed on zeros, not on the caller's tensors.
class Scratch {
 public:
  Scratch(const ConvolutionProblem& problem, cudaStream_t stream) {
    const auto zeros_of = [&](bool wanted, const Shape& shape, DType dtype) -> void* {
      if (!wanted) return nullptr;
      tensors_.push_back(Tensor::empty(shape, dtype, Device::cuda));
      Tensor& tensor = tensors_.back();
      check(cudaMemsetAsync(tensor.raw(), 0, tensor.bytes(), stream), name_of(problem.direction),
            "cudaMemsetAsync");
      return tensor.raw();
    };
    const auto zeros = [&](bool wanted, const Shape& shape) {
      return zeros_of(wanted, shape, problem.dtype);
    };
    const Shape channels{problem.y[3]};
    operands = {.x = zeros(true, problem.x),
                .weight = zeros(true, problem.weight),
                .y = zeros(true, problem.y),
                .bias = zeros(problem.epilogue.bias, channels),
                .residual = zeros(problem.epilogue.residual, problem.y),
                .sum = zeros_of(problem.sums, channels, DType::f32),
                .square_sum = zeros_of(problem.sums, channels, DType::f32)};
  }

  ConvolutionOperands operands;

 private:
  std::vector<Tensor> tensors_;
};

/// The shortest time in milliseconds that work takes on the stream.
float time_of(const std::function<void()>& work, cudaStream_t stream, std::string_view op) {
  const Event begin = make_event(cudaEventDefault);
  const Event end = make_event(cudaEventDefault);
  work();  // the first run loads its kernels
  float shortest = 0.0F;
  for (int run = 0; run < timed_runs; ++run) {
    check(cudaEventRecord(begin.get(), stream), op, "cudaEventRecord");
    work();
    check(cudaEventRecord(end.get(), stream), op, "cudaEventRecord");
    check(cudaEventSynchronize(end.get()), op, "cudaEventSynchronize");
    float milliseconds = 0.0F;
    check(cudaEventElapsedTime(&milliseconds, begin.get(), end.get()), op, "cudaEventElapsedTime");
    shortest = run == 0 ? milliseconds : std::min(shortest, milliseconds);
  }
  return shortest;
}

/// The plans for one problem, in the order in which they are taken: those that are ready, then those that
/// would have to be made.
class Plans {
 public:
  /// None where the library does not take the problem.
  Plans(const ConvolutionProblem& problem, const AlgorithmChoice& choice, cudnnHandle_t handle)
      : op_(name_of(problem.direction)) {
    try {
      graph_.emplace(problem, Target{.handle = handle});
      for (Candidate& candidate : graph_->candidates())
        if (allowed(candidate, problem.dtype, choice)) candidates_.push_back(std::move(candidate));
    } catch (const CudnnError& error) {
      require_refusal(error, op_);
    }
  }

  /// Times the first few and puts the fastest first.
  void measure(const ConvolutionProblem& problem, cudnnHandle_t handle, cudaStream_t stream) {
    const Scratch scratch(problem, stream);
    const std::size_t most = problem.sums ? timed_plans_with_sums : timed_plans;
    std::vector<std::pair<float, Plan>> timed;
    while (timed.size() < most && make_next()) {
      try {
        const Plan& plan = ready_.front();
        const Tensor workspace = workspace_for(plan);
        const float time =
            time_of([&] { execute(handle, plan, scratch.operands, workspace.raw()); }, stream, op_);
        timed.emplace_back(time, plan);
      } catch (const CudnnError& error) {
        require_refusal(error, op_);
      }
      ready_.clear();
    }
    std::stable_sort(timed.begin(), timed.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    for (auto& [time, plan] : timed) ready_.push_back(std::move(plan));
    if (!timed.empty()) time_of_best = timed.front().first;
  }

  std::optional<float> time_of_best;  ///< in milliseconds; of those that were measured
  std::optional<bool> pays;           ///< Convolutions::sums_pay

  /// The one to take; null where none is left.
  const Plan* best() { return !ready_.empty() || make_next() ? &ready_.front() : nullptr; }
  bool best_is_ready() const { return !ready_.empty() || candidates_.empty(); }
  /// What best() returned is not to be taken again.
  void drop_best() { ready_.pop_front(); }

 private:
  /// Makes the next candidate that works a plan; false if there is none.
  bool make_next() {
    while (!candidates_.empty()) {
      const Candidate candidate = std::move(candidates_.front());
      candidates_.pop_front();
      try {
        Plan plan = graph_->plan(candidate);
        if (plan.workspace > most_workspace) continue;
        ready_.push_back(std::move(plan));
        return true;
      } catch (const CudnnError&) {
        require_device(op_);  // this one does not work out, whatever the reason
      }
    }
    return false;
  }

  std::string_view op_;
  std::optional<ConvolutionGraph> graph_;
  std::deque<Candidate> candidates_;  ///< allowed, not tried yet
  std::deque<Plan> ready_;
};

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
  std::map<Key, Plans> plans{};

  bool measures() const { return choice.convolutions == ConvolutionChoice::measured; }
  /// Made at the first call.
  Plans& plans_for(const ConvolutionProblem& problem) {
    const Key key = key_of(problem);
    const auto found = plans.find(key);
    if (found != plans.end()) return found->second;
    Plans& made = plans.emplace(key, Plans(problem, choice, handle.get())).first->second;
    if (measures()) made.measure(problem, handle.get(), stream);
    return made;
  }
};

Convolutions::Convolutions(cudaStream_t stream) {
  if (cudnnGetVersion() < oldest_version)
    fail("no CUDA backend: it needs cuDNN 9, and {} is installed; the device cpu is available", library());
  try {
    cudnnHandle_t handle = nullptr;
    require_success(cudnnCreate(&handle), "cudnnCreate");
    library_ = std::make_unique<Library>(Library{.stream = stream, .handle = LibraryHandle(handle)});
    require_success(cudnnSetStream(handle, stream), "cudnnSetStream");
  } catch (const CudnnError& error) {
    require_device("cuDNN");
    fail("no CUDA backend: {}; the device cpu is available", error.what());
  }
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

bool Convolutions::run(const ConvolutionProblem& problem, const ConvolutionOperands& operands,
                       bool recording) {
  const cudnnHandle_t handle = library_->handle.get();
  const std::string_view op = name_of(problem.direction);
  const auto found = library_->plans.find(key_of(problem));
  // Making a plan loads and compiles kernels, and timing one waits for it: a replay would repeat neither.
  require(!recording || (found != library_->plans.end() && found->second.best_is_ready()),
          "{}: there is no plan for it yet, and none can be made while work is recorded: run the same work "
          "once before",
          op);
  Plans& plans = library_->plans_for(problem);
  while (const Plan* plan = plans.best()) {
    try {
      // In the order of the stream whoever gets the block next comes after this convolution.
      execute(handle, *plan, operands, workspace_for(*plan).raw());
      return true;
    } catch (const CudnnError& error) {
      require_refusal(error, op);
    }
    plans.drop_best();
  }
  return false;
}

bool Convolutions::sums_pay(const ConvolutionProblem& problem, const std::function<void()>& apart,
                            bool recording) {
  if (!library_->measures()) return false;
  const auto found = library_->plans.find(key_of(problem));
  if (found != library_->plans.end() && found->second.pays) return *found->second.pays;
  if (recording) return false;
  ConvolutionProblem alone = problem;
  alone.sums = false;
  const std::optional<float> without = library_->plans_for(alone).time_of_best;
  Plans& plans = library_->plans_for(problem);
  const float added = time_of(apart, library_->stream, name_of(problem.direction));
  plans.pays = plans.time_of_best && (!without || *plans.time_of_best < *without + added);
  return *plans.pays;
}

}  // namespace generous::cuda
