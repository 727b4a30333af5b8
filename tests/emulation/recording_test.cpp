// What a recorded training step asks of the CUDA runtime: one launch of a graph and small copies, nothing
// that takes memory or waits.

#include <doctest/doctest.h>

#include <map>

#include "apps/training/evaluation.h"
#include "apps/training/train_step.h"
#include "core/ops.h"
#include "nn/distill/method.h"
#include "nn/distill/none.h"
#include "nn/models/registry.h"
#include "tests/emulation/emulation.h"

namespace generous {
namespace {

using emulation::calls;

std::map<std::string, std::int64_t> counts() {
  std::map<std::string, std::int64_t> found;
  for (const char* name :
       {"cudaMalloc", "cudaMallocAsync", "cudaFree", "cudaFreeAsync", "cudaHostAlloc", "cudaMallocHost",
        "cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaMemcpy", "cudaStreamBeginCapture"})
    found[name] = calls(name);
  return found;
}

TEST_CASE("replays neither allocate nor wait, and launch one graph each") {
  const auto model = make_model("resnet8", {.classes = 5, .device = Device::cuda});
  const auto optimizer = make_sgd(*model, {});
  const auto method = make_none();
  TrainStep step({*model, nullptr, *method}, *optimizer, {.device = Device::cuda, .batch_size = 2});
  const Batch batch{Tensor::full({2, 32, 32, 3}, 0.5F, Device::cuda),
                    Tensor::zeros({2}, DType::i64, Device::cuda)};
  step.start_epoch(0);
  optimizer->set_learning_rate(0.1F);
  std::vector<PendingMetrics> metrics;
  // Two by hand, the third recorded, the rest replayed; as many metrics wait to be read as later.
  for (std::int64_t i = 0; i < 9; ++i) metrics.push_back(step.run(batch, i));
  backend(Device::cuda).synchronize();

  const auto before = counts();
  const std::int64_t graphs = calls("cudaGraphLaunch");
  const std::int64_t copies = calls("cudaMemcpyAsync");
  const std::int64_t kernels = calls("cudaLaunchKernelEx");
  metrics.clear();
  for (std::int64_t i = 9; i < 15; ++i) metrics.push_back(step.run(batch, i));
  CHECK(counts() == before);
  CHECK(calls("cudaGraphLaunch") == graphs + 6);
  CHECK(calls("cudaLaunchKernelEx") == kernels);
  CHECK(calls("cudaMemcpyAsync") - copies <= 6 * 3);  // images, labels and the step's number
  CHECK(emulation::pending() > 0);                    // all of it still waits: the host ran ahead

  float last = metrics[0].read().loss;
  for (std::size_t i = 1; i < metrics.size(); ++i) {
    const float loss = metrics[i].read().loss;
    CHECK(loss < last);  // each step's own: the constant batch is learnt
    last = loss;
  }
}

/// Cross-entropy, and from the second epoch on one more kernel.
class Changing : public Method {
 public:
  Needs needs() const override { return {.teacher = false}; }
  std::size_t losses() const override { return 1; }
  std::vector<std::string> terms() const override { return {"loss"}; }
  std::int64_t loss_since(std::int64_t epoch) const override { return epoch > 0 ? 1 : 0; }
  Loss loss(const DistillBatch& batch) override {
    Tensor loss = cross_entropy(batch.student[0].logits, batch.labels.classes);
    if (batch.epoch > 0) loss = loss + mean(exp(batch.student[0].logits));
    return {.task = loss, .terms = {loss}};
  }
};

TEST_CASE("a kernel first met in a later epoch is not loaded while a step is recorded") {
  register_backend(Device::cuda, nullptr);
  emulation::reset();
  emulation::machine().lazy_loading = true;
  const auto model = make_model("resnet8", {.classes = 5, .device = Device::cuda});
  const auto optimizer = make_sgd(*model, {});
  Changing method;
  TrainStep step({*model, nullptr, method}, *optimizer, {.device = Device::cuda, .batch_size = 2});
  const Batch batch{Tensor::full({2, 32, 32, 3}, 0.5F, Device::cuda),
                    Tensor::zeros({2}, DType::i64, Device::cuda)};
  optimizer->set_learning_rate(0.1F);
  for (std::int64_t epoch = 0; epoch < 2; ++epoch) {
    step.start_epoch(epoch);
    const std::int64_t graphs = calls("cudaGraphLaunch");
    for (std::int64_t i = 0; i < 5; ++i) CHECK_NOTHROW(step.run(batch, 5 * epoch + i));
    CHECK(calls("cudaGraphLaunch") > graphs);
  }
  emulation::machine().lazy_loading = false;
}

/// `images` noisy ones of 32x32 pixels in three colours, of five classes in turn.
Dataset noise(std::int64_t images) {
  Dataset dataset{.images = Tensor::empty({images, 32, 32, 3}, DType::u8), .labels = {}, .classes = {}};
  std::uint32_t state = 7;
  for (std::uint8_t& byte : dataset.images.data<std::uint8_t>()) {
    state = state * 1664525U + 1013904223U;
    byte = static_cast<std::uint8_t>(state >> 24U);
  }
  for (std::int64_t i = 0; i < images; ++i) dataset.labels.push_back(i % 5);
  for (const char* name : {"a", "b", "c", "d", "e"}) dataset.classes.emplace_back(name);
  return dataset;
}

TEST_CASE("an evaluation is recorded, and gives the bits of one that is not") {
  const Dataset dataset = noise(22);  // five whole batches, and one of two images
  Loader loader(dataset,
                {.name = "noise",
                 .normalisation = {.mean = {0.5F, 0.4F, 0.3F}, .std = {0.2F, 0.3F, 0.25F}},
                 .default_folder = {}},
                {.batch_size = 4, .workers = 0, .shuffle = false, .augment = false, .device = Device::cuda});
  for (const bool frozen : {false, true})
    for (const DType dtype : {DType::f32, DType::bf16}) {
      CAPTURE(frozen);
      CAPTURE(name_of(dtype));
      const auto model = make_model("preresnet20", {.classes = 5, .device = Device::cuda});
      if (frozen) model->freeze();
      std::vector<float> logits;
      const SeeLogits see = [&](const Batch&, const Tensor& shown) {
        logits.insert(logits.end(), shown.data<float>().begin(), shown.data<float>().end());
      };
      const auto go_on = [](std::int64_t) { return true; };
      const std::int64_t graphs = calls("cudaGraphLaunch");
      const auto plain = evaluate(*model, loader, {.dtype = dtype, .record = false}, go_on, see);
      CHECK(calls("cudaGraphLaunch") == graphs);
      const std::vector<float> wanted = std::exchange(logits, {});
      const auto recorded = evaluate(*model, loader, {.dtype = dtype}, go_on, see);
      CHECK(calls("cudaGraphLaunch") == graphs + 3);
      CHECK(wanted.size() == 22 * 5);
      CHECK(logits == wanted);
      CHECK(recorded->loss == plain->loss);
      CHECK(recorded->correct == plain->correct);
      CHECK(recorded->correct5 == plain->correct5);
      CHECK(recorded->images == 22);
      CHECK(plain->correct5 == 22);
    }
}

TEST_CASE("what a recording may not do is an error that says so, and leaves the backend as it was") {
  Backend& gpu = backend(Device::cuda);
  const Tensor x = Tensor::full({3}, 2.0F, Device::cuda);
  CHECK_THROWS_WITH_AS(gpu.record([&] { x.item(); }), doctest::Contains("item() needs"), Error);
  const Tensor one = Tensor::full({}, 2.0F, Device::cuda);
  CHECK_THROWS_WITH_AS(gpu.record([&] { one.item(); }), doctest::Contains("recorded work may not wait"),
                       Error);
  CHECK_THROWS_WITH_AS(gpu.record([&] { gpu.synchronize(); }),
                       doctest::Contains("recorded work may not wait"), Error);
  float value = 1.0F;
  Tensor y = Tensor::empty({}, DType::f32, Device::cuda);
  CHECK_THROWS_WITH_AS(gpu.record([&] { gpu.copy_from_host(&value, y); }),
                       doctest::Contains("recorded work may not"), Error);
  const auto recorded = gpu.record([&] { gpu.affine(one, 3.0F, 1.0F, y); });
  CHECK(y.item() == 7.0F);
  Tensor changed = one;
  gpu.fill(changed, 5.0);
  recorded->replay();
  CHECK(y.item() == 16.0F);
}

}  // namespace
}  // namespace generous
