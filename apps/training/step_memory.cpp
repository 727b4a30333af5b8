#include "apps/training/step_memory.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/autograd.h"
#include "core/ops.h"

namespace generous {

namespace {

/// Of so few images a step is not asked about: measuring it would take as much.
constexpr std::int64_t fewest = 8;
/// What is measured, for steps on so many images: where they are many, the kernels that many take.
std::int64_t sample_of(std::int64_t rows) { return std::clamp<std::int64_t>(rows / 4, fewest, 32); }

constexpr double gib = 1024.0 * 1024.0 * 1024.0;
/// Small batches may take other kernels, with buffers that large ones do not have: estimates from them were
/// 0.85 to 1.55 times what steps of resnet8, vgg8_bn and mobilenetv2 allocated, in f32 and bf16.
constexpr double certain_share = 0.6;
/// More than a step of any network here takes for each pixel of an image (and of each view).
constexpr double most_bytes_of_a_pixel = 65536.0;

/// Everything of a network that a pass changes, put back at the end.
class Unchanged {
 public:
  explicit Unchanged(Module* module) {
    if (module == nullptr) return;
    for (const StateEntry& entry : module->state())
      if (!entry.trainable) kept_.emplace_back(entry.tensor, entry.tensor.clone());
  }
  ~Unchanged() {
    for (auto& [tensor, copy] : kept_) backend(tensor.device()).copy(copy, tensor);
  }
  Unchanged(const Unchanged&) = delete;
  Unchanged& operator=(const Unchanged&) = delete;

 private:
  std::vector<std::pair<Tensor, Tensor>> kept_;
};

/// The most bytes that a step on so many images has beyond what is there now.
double peak_of_step(const Distillation& distillation, const Shape& image, const TrainStepOptions& options,
                    std::int64_t rows) {
  CachingAllocator& allocator = *backend(options.device).allocator();
  const Needs needs = distillation.method.needs();
  allocator.restart_peak();
  const std::size_t before = allocator.statistics().in_use_bytes;
  std::vector<Outputs> kept;
  Tensor loss;
  for (int view = 0; view < needs.views; ++view) {
    const Tensor images =
        cast(Tensor::zeros({rows, image[0], image[1], image[2]}, DType::f32, options.device), options.dtype);
    kept.push_back(outputs_of(distillation.student, images, needs));
    const Tensor one = cross_entropy(kept.back().logits, Tensor::zeros({rows}, DType::i64, options.device));
    loss = loss.defined() ? loss + one : one;
    if (distillation.teacher == nullptr) continue;
    const NoGrad no_grad;
    kept.push_back(outputs_of(*distillation.teacher, images, needs));
  }
  backward(loss);
  return static_cast<double>(allocator.statistics().peak_in_use_bytes - before);
}

void forget_gradients(Module& module) {
  for (const StateEntry& entry : module.parameters()) {
    Tensor parameter = entry.tensor;
    parameter.clear_grad();
  }
}

}  // namespace

std::int64_t StepMemory::rows_in(std::int64_t bytes) const {
  const double rows = (static_cast<double>(bytes) - fixed) / std::max(each, 1.0);
  return std::max<std::int64_t>(static_cast<std::int64_t>(std::floor(std::min(rows, 1e15))), 0);
}

StepMemory step_memory(const Distillation& distillation, const Shape& image, const TrainStepOptions& options,
                       std::int64_t sample) {
  const Unchanged student(&distillation.student);
  const Unchanged teacher(distillation.teacher);
  distillation.student.train();
  const std::int64_t few = sample / 2;
  const auto peak = [&](std::int64_t rows) {
    const double bytes = peak_of_step(distillation, image, options, rows);
    forget_gradients(distillation.student);
    return bytes;
  };
  peak(few);  // what is kept from the first step on is no part of the others
  const double of_few = peak(few);
  const double each = std::max((peak(sample) - of_few) / static_cast<double>(sample - few), 0.0);
  return {.fixed = std::max(of_few - each * static_cast<double>(few), 0.0), .each = each};
}

void check_memory(const Distillation& distillation, const Shape& image, const TrainStepOptions& options,
                  const BatchesInMemory& batches, const MemoryLeft& left) {
  const std::int64_t batch = std::min(batches.batch_size, batches.images);
  const std::int64_t rows = (batch + batches.slices - 1) / batches.slices;
  if (rows <= fewest) return;
  const auto pixels = static_cast<double>(image[0] * image[1] * distillation.method.needs().views);
  if (static_cast<double>(rows) * pixels * most_bytes_of_a_pixel < static_cast<double>(left.bytes)) return;
  const StepMemory memory = step_memory(distillation, image, options, sample_of(rows));
  if (certain_share * memory.bytes(rows) <= static_cast<double>(left.bytes)) return;
  const std::int64_t most = memory.rows_in(left.bytes);
  std::string advice = "no batch is small enough";
  if (most > 0) advice = fmt::format("give --batch_size {} or less", most * batches.slices);
  if (const std::int64_t alone = batches.slices / batches.processes; most > 1 && batches.may_slice) {
    std::int64_t slices = alone + 1;
    while ((batch + slices * batches.processes - 1) / (slices * batches.processes) > most) ++slices;
    const std::int64_t last = batches.images % batch;
    if ((last > 0 ? last : batch) / (slices * batches.processes) > 1)
      advice += fmt::format(", or --micro_batches {}, which takes each batch in slices",
                            slices * batches.processes);
  }
  fail("batch_size {}: a training step takes about {:.3g} GiB of memory, and {:.3g} GiB are left {}: {}",
       batches.batch_size, memory.bytes(rows) / gib, static_cast<double>(left.bytes) / gib, left.where,
       advice);
}

}  // namespace generous
