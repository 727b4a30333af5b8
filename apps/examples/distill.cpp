// Distillation by hand: a large network teaches a small one, by a loss that is written here.
//
//   distill FOLDER [IMAGES [EPOCHS]]     FOLDER: the four files of MNIST, or of Fashion-MNIST
//
// The loss is the oldest of the kind: the student's logits are to be those of the teacher (Ba & Caruana, "Do
// deep nets really need to be deep?", 2014). Put one of your own in its place: any expression of
// differentiable ops will do.
#include <generous/generous.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <numeric>
#include <stdexcept>
#include <string>

using namespace generous;

/// Logits {B, 10} without what softmax does not see: what is common to all classes of an image.
Tensor centred(const Tensor& logits) { return logits - mean_rows(logits); }  // {B, 10} - {B, 1}

/// {}: the labels' loss, and how far the student's logits are from the teacher's, which carry no gradient.
Tensor distillation_loss(const Tensor& student, const Tensor& teacher, const Tensor& labels) {
  return cross_entropy(student, labels) + mean(square(centred(student) - centred(teacher)));
}

/// {N, 28, 28, 1} -> logits {N, 10}, by two convolutions of `width` and twice as many channels. Layers that
/// simply follow one another need no class of their own.
std::unique_ptr<Module> make_network(std::int64_t width, std::uint64_t seed) {
  auto network = std::make_unique<Sequential>();
  network->append<Conv2d>(
      Conv2dOptions{.in = 1, .out = width, .stride = 2, .padding = 1});  // {N, 14, 14, width}
  network->append<BatchNorm>(width);
  network->append<ReLU>();
  network->append<Conv2d>(Conv2dOptions{.in = width, .out = 2 * width, .stride = 2, .padding = 1});
  network->append<BatchNorm>(2 * width);
  network->append<ReLU>();  // {N, 7, 7, 2 width}
  network->append<FlattenLinear>(Shape{7, 7, 2 * width}, 10);
  network->initialise(seed);
  return network;
}

struct Data {
  DatasetInfo info = dataset_info("fashion_mnist");  // of the same form as MNIST
  Dataset train;
  Dataset test;
};

Data read(const std::string& folder, std::int64_t images) {
  Data data;
  const Dataset all = load_dataset(data.info.name, folder, Split::train);
  std::vector<std::int64_t> first(static_cast<std::size_t>(std::min(images, all.size())));
  std::iota(first.begin(), first.end(), 0);
  data.train = select_images(all, first);
  data.test = load_dataset(data.info.name, folder, Split::test);
  return data;
}

/// Per cent of the test images whose class has the largest logit.
double accuracy(Module& network, const Data& data) {
  const NoGrad no_grad;
  if (!network.frozen()) network.eval();
  Loader loader(data.test, data.info, {.batch_size = 500, .shuffle = false, .augment = false});
  loader.start_epoch(0);
  double right = 0.0;
  while (const std::optional<Batch> batch = loader.next())
    right += static_cast<double>(count_top_k(network(batch->images), batch->labels, 1).item());
  return 100.0 * right / static_cast<double>(data.test.size());
}

/// Logits {B, 10} of a teacher, of which no backward pass is to know.
Tensor answer_of(Module& teacher, const Tensor& images) {
  const NoGrad no_grad;
  return teacher(images);
}

/// What a batch's logits {B, 10} cost: {}.
using LossFunction = std::function<Tensor(const Tensor& logits, const Batch& batch)>;

void train(Module& network, const Data& data, std::int64_t epochs, const LossFunction& loss_of) {
  const std::unique_ptr<Optimizer> optimizer = make_sgd(network, {.momentum = 0.9F, .weight_decay = 5e-4F});
  const CosineSchedule schedule{.base = 0.02, .epochs = epochs};
  Loader loader(data.train, data.info, {.batch_size = 64, .augment = false});
  network.train();
  for (std::int64_t epoch = 0; epoch < epochs; ++epoch) {
    optimizer->set_learning_rate(schedule.learning_rate(epoch));
    loader.start_epoch(epoch);
    while (const std::optional<Batch> batch = loader.next()) {
      optimizer->zero_grad();
      backward(loss_of(network(batch->images), *batch));
      optimizer->step();
    }
  }
}

void report(const char* name, Module& network, const Data& data) {
  std::printf("%-14s %7lld parameters  right %.2f %% of the test images\n", name,
              static_cast<long long>(network.parameter_count()), accuracy(network, data));
}

void distil(const std::string& folder, std::int64_t images, std::int64_t epochs) {
  const Data data = read(folder, images);
  const LossFunction by_labels = [](const Tensor& logits, const Batch& batch) {
    return cross_entropy(logits, batch.labels);
  };

  const std::unique_ptr<Module> teacher = make_network(32, /*seed=*/0);
  train(*teacher, data, epochs, by_labels);
  teacher->freeze();  // for inference alone: batch norms are folded into the convolutions
  report("teacher", *teacher, data);

  const std::unique_ptr<Module> alone = make_network(3, /*seed=*/1);
  train(*alone, data, epochs, by_labels);
  report("student alone", *alone, data);

  const std::unique_ptr<Module> student = make_network(3, /*seed=*/1);
  train(*student, data, epochs, [&](const Tensor& logits, const Batch& batch) {
    return distillation_loss(logits, answer_of(*teacher, batch.images), batch.labels);
  });
  report("student taught", *student, data);
}

int main(int argc, char** argv) try {
  const PoliteWaiting waiting;  // idle threads give way to other programs
  if (argc < 2) throw std::invalid_argument("no folder");
  distil(argv[1], argc > 2 ? std::stoll(argv[2]) : 6000, argc > 3 ? std::stoll(argv[3]) : 4);
} catch (const std::logic_error&) {  // std::stoll's, too
  std::fprintf(stderr, "usage: distill FOLDER [IMAGES [EPOCHS]]\n");
  return 2;
} catch (const std::exception& error) {
  std::fprintf(stderr, "distill: %s\n", error.what());
  return 1;
}
