// A real training run on real images: Fashion-MNIST, a small network, a few hundred steps.

#include <doctest/doctest.h>

#include <cstring>
#include <filesystem>

#include "core/autograd.h"
#include "data/loader.h"
#include "nn/models/registry.h"
#include "nn/optim.h"
#include "nn/state_dict.h"

namespace generous {
namespace {

struct Outcome {
  double top1 = 0.0;     ///< on the first test images, as a fraction
  NamedTensors weights;  ///< after the last step
};

/// 250 steps of resnet8 at batch 64, tested on 2,000 images.
Outcome train_briefly(const Dataset& train, const Dataset& test, const DatasetInfo& info, int workers) {
  const auto model = make_model("resnet8", {.classes = 10, .image = {28, 28, 1}, .seed = 3});
  const auto optimizer = make_sgd(*model, {});
  Loader loader(train, info, {.batch_size = 64, .workers = workers, .seed = 3});
  loader.start_epoch(0);
  for (int step = 0; step < 250; ++step) {
    const Batch batch = *loader.next();
    optimizer->zero_grad();
    backward(cross_entropy((*model)(batch.images), batch.labels));
    optimizer->set_learning_rate(step < 200 ? 0.05F : 0.005F);
    optimizer->step();
  }

  model->eval();
  const NoGrad no_grad;
  Loader test_loader(test, info, {.batch_size = 250, .workers = 0, .shuffle = false, .augment = false});
  test_loader.start_epoch(0);
  std::int64_t correct = 0;
  for (int i = 0; i < 8; ++i) {
    const Batch batch = *test_loader.next();
    correct += static_cast<std::int64_t>(count_top_k((*model)(batch.images), batch.labels, 1).item());
  }
  return {static_cast<double>(correct) / 2000.0, state_dict(*model)};
}

TEST_CASE("a short training run on Fashion-MNIST learns, and the same seed gives the same bits") {
  const DatasetInfo& info = dataset_info("fashion_mnist");
  if (!std::filesystem::exists(info.default_folder / "train-images-idx3-ubyte.gz")) {
    MESSAGE("skipped: no Fashion-MNIST in ", info.default_folder.string());
    return;
  }
  const Dataset train = load_dataset("fashion_mnist", info.default_folder, Split::train);
  const Dataset test = load_dataset("fashion_mnist", info.default_folder, Split::test);

  const Outcome first = train_briefly(train, test, info, 0);
  CHECK(first.top1 > 0.75);
  const Outcome second = train_briefly(train, test, info, 2);
  REQUIRE(first.weights.size() == second.weights.size());
  for (std::size_t i = 0; i < first.weights.size(); ++i) {
    const Tensor& a = first.weights[i].second;
    const Tensor& b = second.weights[i].second;
    CAPTURE(first.weights[i].first);
    CHECK(std::memcmp(a.raw(), b.raw(), a.bytes()) == 0);
  }
}

}  // namespace
}  // namespace generous
