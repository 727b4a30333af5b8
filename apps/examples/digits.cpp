// A small convolutional network that learns to read digits, or clothes, with a training loop of its own.
//
//   digits FOLDER [IMAGES [EPOCHS]]     FOLDER: the four files of MNIST, or of Fashion-MNIST
#include <generous/generous.h>

#include <algorithm>
#include <cstdio>
#include <numeric>
#include <stdexcept>
#include <string>

using namespace generous;

/// {N, 28, 28, 1} -> logits {N, 10}. A layer is a member and has a name, under which its weights are saved.
class SmallNetwork : public Module {
 public:
  Tensor forward(const Tensor& x) override {
    Tensor h = max_pool2d(norm1_.then_relu(conv1_(x)), {});  // {N, 14, 14, 16}: {} pools windows of 2 x 2
    h = max_pool2d(norm2_.then_relu(conv2_(h)), {});         // {N, 7, 7, 32}
    return classifier_(h);
  }

 private:
  Conv2d& conv1_ = add<Conv2d>("conv1", Conv2dOptions{.in = 1, .out = 16, .padding = 1});
  BatchNorm& norm1_ = add<BatchNorm>("norm1", 16);
  Conv2d& conv2_ = add<Conv2d>("conv2", Conv2dOptions{.in = 16, .out = 32, .padding = 1});
  BatchNorm& norm2_ = add<BatchNorm>("norm2", 32);
  FlattenLinear& classifier_ = add<FlattenLinear>("classifier", Shape{7, 7, 32}, 10);
};

/// The first `count` images, or all where there are fewer.
Dataset first_images(const Dataset& dataset, std::int64_t count) {
  std::vector<std::int64_t> indices(static_cast<std::size_t>(std::min(count, dataset.size())));
  std::iota(indices.begin(), indices.end(), 0);
  return select_images(dataset, indices);
}

/// Per cent of a dataset's images whose class has the largest logit.
double accuracy(Module& network, const Dataset& dataset, const DatasetInfo& info) {
  const NoGrad no_grad;  // remember nothing for a backward pass
  network.eval();        // batch norm by the statistics that it collected
  Loader loader(dataset, info, {.batch_size = 500, .shuffle = false, .augment = false});
  double right = 0.0;
  loader.start_epoch(0);
  while (const std::optional<Batch> batch = loader.next())
    right += count_top_k(network(batch->images), batch->labels, 1).item();
  network.train();
  return 100.0 * right / static_cast<double>(dataset.size());
}

void learn(const std::string& folder, std::int64_t images, std::int64_t epochs) {
  const DatasetInfo& info = dataset_info("fashion_mnist");  // of the same form as MNIST
  const Dataset train = first_images(load_dataset(info.name, folder, Split::train), images);
  const Dataset test = load_dataset(info.name, folder, Split::test);
  std::printf("%lld images to learn from, %lld to be tested with\n", static_cast<long long>(train.size()),
              static_cast<long long>(test.size()));

  SmallNetwork network;
  network.initialise(/*seed=*/0);
  const std::unique_ptr<Optimizer> optimizer = make_sgd(network, {.momentum = 0.9F, .weight_decay = 5e-4F});
  const CosineSchedule schedule{.base = 0.05, .epochs = epochs};
  Loader loader(train, info, {.batch_size = 64, .augment = false});  // a digit is another one when mirrored

  for (std::int64_t epoch = 0; epoch < epochs; ++epoch) {
    optimizer->set_learning_rate(schedule.learning_rate(epoch));
    loader.start_epoch(epoch);  // which shuffles the images
    Tensor loss;
    while (const std::optional<Batch> batch = loader.next()) {
      optimizer->zero_grad();
      loss = cross_entropy(network(batch->images), batch->labels);
      backward(loss);
      optimizer->step();
    }
    std::printf("epoch %lld  last loss %.3f  right %.2f %% of the test images\n",
                static_cast<long long>(epoch + 1), static_cast<double>(loss.item()),
                accuracy(network, test, info));
  }
}

int main(int argc, char** argv) try {
  const PoliteWaiting waiting;  // idle threads give way to other programs
  if (argc < 2) throw std::invalid_argument("no folder");
  learn(argv[1], argc > 2 ? std::stoll(argv[2]) : 6000, argc > 3 ? std::stoll(argv[3]) : 3);
} catch (const std::logic_error&) {  // std::stoll's, too
  std::fprintf(stderr, "usage: digits FOLDER [IMAGES [EPOCHS]]\n");
  return 2;
} catch (const std::exception& error) {
  std::fprintf(stderr, "digits: %s\n", error.what());
  return 1;
}
