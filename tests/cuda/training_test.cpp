// Whole models and whole training steps on the CUDA backend against the CPU's.

#include <map>

#include "apps/training/train_step.h"
#include "nn/distill/methods.h"
#include "nn/models/registry.h"
#include "tests/core/worst.h"
#include "tests/cuda/differences.h"

namespace generous {
namespace {

using testing::largest_of;
using testing::relative_error;

constexpr std::int64_t classes = 7;

Batch random_batch(std::int64_t count, const std::string& name) {
  Batch batch{testing::random_tensor({count, 32, 32, 3}, name), Tensor::empty({count}, DType::i64)};
  std::int64_t i = 0;
  for (std::int64_t& label : batch.labels.data<std::int64_t>()) label = (3 * i++ + 1) % classes;
  return batch;
}

std::unique_ptr<Network> model_on(Device device, const std::string& name, std::uint64_t seed = 0) {
  return make_model(
      name,
      {.classes = classes,
       .settings = {{"num_channels", "8"}, {"dropout_rate", "0.3"}, {"depth", "11"}, {"cardinality", "4"}},
       .seed = seed,
       .device = device});
}

/// Moves the output of every batch norm to 2, give or take a few quarters: far from where a ReLU opens or
/// reaches its ceiling. The gradient is a smooth function of images and weights then, and rounding errors
/// move it by as little as the loss. With usual weights some input of a ReLU among hundreds of thousands lies
/// so near zero that it may open in one implementation and stay shut in the other.
void open_every_relu(const Network& model) {
  const std::string statistic = ".running_mean";
  std::map<std::string, float> values;
  for (const StateEntry& entry : model.state()) {
    if (!entry.name.ends_with(statistic)) continue;
    const std::string norm = entry.name.substr(0, entry.name.size() - statistic.size());
    values[norm + ".weight"] = 0.25F;
    values[norm + ".bias"] = 2.0F;
  }
  REQUIRE(!values.empty());
  for (const StateEntry& entry : model.parameters()) {
    const auto found = values.find(entry.name);
    if (found == values.end()) continue;
    Tensor parameter = entry.tensor.detach();
    backend(parameter.device()).fill(parameter, found->second);
  }
}

/// How far the gradients of one model are from another's at most, each beside its largest element; or beside
/// a hundredth of the largest of all, where it is smaller than that: those are sums that cancel, such as that
/// of a bias in front of a batch norm.
double largest_gradient_error(const Network& found, const Network& wanted) {
  const std::vector<StateEntry> ours = found.parameters();
  const std::vector<StateEntry> theirs = wanted.parameters();
  REQUIRE(ours.size() == theirs.size());
  double largest = 0.0;
  for (const StateEntry& entry : theirs) largest = std::max(largest, largest_of(entry.tensor.grad()));
  double error = 0.0;
  for (std::size_t i = 0; i < ours.size(); ++i) {
    const Tensor gradient = theirs[i].tensor.grad();
    const Tensor difference = ours[i].tensor.grad().to(Device::cpu) - gradient;
    error = std::max(error, largest_of(difference) / std::max(largest_of(gradient), 0.01 * largest));
  }
  return error;
}

TEST_CASE("whole models: logits, loss and every gradient are the CPU's") {
  for (const std::string name : {"net", "resnet20", "wrn_16_2", "vgg8_bn", "mobile_half", "mobilenetv2",
                                 "shufflev1", "shufflev2", "shufflenetv2", "resnext29", "densenet121"})
    for (const bool all_open : {true, false}) {
      CAPTURE(name);
      CAPTURE(all_open);
      const auto reference = model_on(Device::cpu, name);
      const auto model = model_on(Device::cuda, name);
      if (all_open) {
        open_every_relu(*reference);
        open_every_relu(*model);
      }
      const Batch batch = random_batch(3, name);
      const Tensor wanted = (*reference)(batch.images);
      const Tensor found = (*model)(batch.images.to(Device::cuda));
      CHECK(relative_error(found.detach(), wanted.detach()) < 1e-4);
      backward(cross_entropy(wanted, batch.labels));
      backward(cross_entropy(found, batch.labels.to(Device::cuda)));
      // One ReLU that is open in one and shut in the other moves some gradient by up to a quarter, a wrong
      // mask all.
      // The last batch norm of net has three rows, nearly equal here: few of their differences' digits are
      // right.
      const double smooth = name == "net" ? 2e-2 : 1e-3;
      CHECK(largest_gradient_error(*model, *reference) < (all_open ? smooth : 0.5));
      const std::vector<StateEntry> wanted_state = reference->state();
      const std::vector<StateEntry> state = model->state();
      for (std::size_t i = 0; i < state.size(); ++i) {
        CAPTURE(state[i].name);
        if (state[i].trainable || state[i].tensor.dtype() != DType::f32) continue;
        // So is the mean of a linear map of what a batch norm without ReLU has just centred.
        if (largest_of(wanted_state[i].tensor) > 1e-5)
          CHECK(relative_error(state[i].tensor, wanted_state[i].tensor) < 1e-4);
      }
    }
}

TEST_CASE("a frozen model gives the CPU's logits, in f32 and bf16") {
  const NoGrad no_grad;
  for (const DType dtype : {DType::f32, DType::bf16}) {
    CAPTURE(name_of(dtype));
    const auto reference = model_on(Device::cpu, "wrn_16_2");
    const auto model = model_on(Device::cuda, "wrn_16_2");
    reference->freeze();
    model->freeze();
    const Tensor images = random_batch(2, "frozen").images;
    const Tensor wanted = (*reference)(images);  // in f32: what bf16 is an approximation of
    const Tensor found = (*model)(cast(images.to(Device::cuda), dtype));
    CHECK(relative_error(found, wanted) < (dtype == DType::f32 ? 1e-4 : 5e-2));
  }
}

/// A stage's networks and method on a device.
struct Learning {
  std::unique_ptr<Network> student;
  std::unique_ptr<Network> teacher = {};  ///< null where the method needs none
  std::unique_ptr<Method> method;

  Distillation distillation() const { return {*student, teacher.get(), *method}; }
};

Learning learning(const std::string& student, const std::string& method_name, Device device) {
  Learning learning{.student = model_on(device, student), .method = make_method(method_name)};
  Options options(method_name);
  options.defaults({{"warmup", "2"}});
  learning.method->declare(options);
  if (learning.method->needs().teacher) {
    learning.teacher = model_on(device, "resnet8", 1);
    learning.teacher->freeze();
  }
  return learning;
}

struct Training {
  std::vector<std::vector<float>> metrics;  ///< of every step: loss, terms, correct
  std::vector<float> weights;               ///< in the end; with mixed images, their averages too
};

/// Ten steps in two epochs, the last batch of each smaller, with a learning rate that falls.
Training ten_steps(const std::string& method, Device device, bool record, bool adam,
                   const MixingOptions& mixing = {}) {
  constexpr std::int64_t batch_size = 4;
  const Learning learner = learning("resnet8", method, device);
  const Network& model = *learner.student;
  const auto optimizer = adam ? make_adam(model, {.weight_decay = 1e-3F})
                              : make_sgd(model, {.momentum = 0.9F, .weight_decay = 5e-4F, .nesterov = true});
  WeightAverage average(model, 0.75);
  TrainStep step(learner.distillation(), *optimizer,
                 {.device = device,
                  .record = record,
                  .batch_size = batch_size,
                  .label_smoothing = mixing.on() ? 0.1 : 0.0,
                  .mixing = mixing},
                 mixing.on() ? &average : nullptr);
  Training training;
  for (std::int64_t epoch = 0; epoch < 2; ++epoch) {
    step.start_epoch(epoch);
    optimizer->set_learning_rate((adam ? 0.1F : 1.0F) * (epoch == 0 ? 0.01F : 0.002F));
    for (std::int64_t i = 0; i < 5; ++i) {
      const std::int64_t number = 5 * epoch + i;
      const Batch batch = random_batch(i < 4 ? batch_size : 3, "step " + std::to_string(number));
      const StepMetrics metrics = step.run({batch.images.to(device), batch.labels.to(device)}, number).read();
      std::vector<float> row = {metrics.loss};
      row.insert(row.end(), metrics.terms.begin(), metrics.terms.end());
      row.push_back(metrics.correct);
      training.metrics.push_back(row);
    }
  }
  for (const StateEntry& entry : model.parameters()) {
    const Tensor host = entry.tensor.detach().to(Device::cpu);
    training.weights.insert(training.weights.end(), host.data<float>().begin(), host.data<float>().end());
  }
  if (mixing.on())
    for (const auto& [name, tensor] : average.state())
      if (tensor.dtype() == DType::f32)
        training.weights.insert(training.weights.end(), tensor.data<float>().begin(),
                                tensor.data<float>().end());
  return training;
}

void check_close(const Training& found, const Training& wanted, double tolerance) {
  REQUIRE(found.metrics.size() == wanted.metrics.size());
  for (std::size_t i = 0; i < wanted.metrics.size(); ++i) {
    CAPTURE(i);
    REQUIRE(found.metrics[i].size() == wanted.metrics[i].size());
    for (std::size_t k = 0; k < wanted.metrics[i].size(); ++k)
      CHECK(static_cast<double>(found.metrics[i][k]) ==
            doctest::Approx(static_cast<double>(wanted.metrics[i][k])).epsilon(tolerance));
  }
  double worst = 0.0;
  for (std::size_t i = 0; i < wanted.weights.size(); ++i)
    worst = testing::worse(worst, std::abs(static_cast<double>(found.weights[i] - wanted.weights[i])));
  CHECK(worst <= tolerance);
}

TEST_CASE("ten steps of every stage are the CPU's, and the same bits recorded and not") {
  backend(Device::cuda).choose_algorithms({.deterministic = true});
  for (const char* method : {"none", "generous", "kd"})
    for (const bool adam : {false, true}) {
      CAPTURE(method);
      CAPTURE(adam);
      const Training wanted = ten_steps(method, Device::cpu, false, adam);
      const Training stepwise = ten_steps(method, Device::cuda, false, adam);
      check_close(stepwise, wanted, 2e-3);
      const Training recorded = ten_steps(method, Device::cuda, true, adam);
      CHECK(recorded.metrics == stepwise.metrics);
      CHECK(recorded.weights == stepwise.weights);
    }
  backend(Device::cuda).choose_algorithms({});
}

TEST_CASE("steps on mixed images and averages of weights are the CPU's, and the same bits recorded and not") {
  backend(Device::cuda).choose_algorithms({.deterministic = true});
  const MixingOptions both{.mixup = 1.0, .cutmix = 1.0};
  for (const char* method : {"none", "kd"}) {
    CAPTURE(method);
    const Training wanted = ten_steps(method, Device::cpu, false, false, both);
    const Training stepwise = ten_steps(method, Device::cuda, false, false, both);
    check_close(stepwise, wanted, 2e-3);
    const Training recorded = ten_steps(method, Device::cuda, true, false, both);
    CHECK(recorded.metrics == stepwise.metrics);
    CHECK(recorded.weights == stepwise.weights);
  }
  backend(Device::cuda).choose_algorithms({});
}

TEST_CASE("a recorded step takes no memory and follows the batch, the learning rate and the step") {
  const Learning learner = learning("net", "none", Device::cuda);
  const auto optimizer = make_sgd(*learner.student, {});
  TrainStep step(learner.distillation(), *optimizer, {.device = Device::cuda, .batch_size = 2});
  const Batch host = random_batch(2, "recorded");
  const Batch batch{host.images.to(Device::cuda), host.labels.to(Device::cuda)};
  optimizer->set_learning_rate(0.0F);
  step.start_epoch(0);
  for (std::int64_t i = 0; i < 4; ++i) step.run(batch, i);
  const auto allocations = [] { return backend(Device::cuda).allocator()->statistics().system_allocations; };
  const std::size_t before = allocations();
  const float same_step = step.run(batch, 4).read().loss;
  CHECK(step.run(batch, 4).read().loss == same_step);  // the weights stand still
  CHECK(step.run(batch, 5).read().loss != same_step);  // dropout draws anew
  optimizer->set_learning_rate(0.05F);
  step.run(batch, 4);
  CHECK(step.run(batch, 4).read().loss != same_step);  // the weights moved
  CHECK(allocations() == before);
}

}  // namespace
}  // namespace generous
