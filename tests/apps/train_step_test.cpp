// The training step beside a loop written out by hand, and a method that has parameters of its own.
#include "apps/training/train_step.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "apps/training/checkpoint.h"
#include "core/autograd.h"
#include "core/random.h"
#include "nn/distill/kd.h"
#include "nn/distill/none.h"
#include "nn/models/registry.h"
#include "nn/state_dict.h"
#include "tests/temporary_folder.h"

namespace generous {
namespace {

constexpr std::int64_t classes = 6;
const Shape image{16, 12, 3};

Batch random_batch(std::int64_t count, const std::string& name) {
  Batch batch{Tensor::empty({count, image[0], image[1], image[2]}),
              Tensor::empty({count}, DType::i64),
              Tensor::empty({count}, DType::i64),
              {}};
  const Random random(3, name);
  std::uint64_t next = 0;
  for (float& value : batch.images.data<float>()) value = random.normal(0, 0, next++);
  for (std::int64_t& label : batch.labels.data<std::int64_t>()) label = random.below(classes, 0, 1, next++);
  for (std::int64_t& index : batch.indices.data<std::int64_t>()) index = static_cast<std::int64_t>(next++);
  return batch;
}

std::unique_ptr<Network> network(const std::string& name, std::uint64_t seed) {
  return make_model(name, {.classes = classes, .image = image, .seed = seed});
}

std::vector<float> values_of(const Tensor& tensor) {
  return {tensor.data<float>().begin(), tensor.data<float>().end()};
}

bool same_weights(const Network& one, const Network& other) {
  const NamedTensors a = state_dict(one);
  const NamedTensors b = state_dict(other);
  REQUIRE(a.size() == b.size());
  for (std::size_t i = 0; i < a.size(); ++i)
    if (a[i].second.dtype() == DType::f32 && values_of(a[i].second) != values_of(b[i].second)) return false;
  return true;
}

bool has(const NamedTensors& tensors, const std::string& name) {
  return std::ranges::find(tensors, name, &NamedTensors::value_type::first) != tensors.end();
}

/// Cross-entropy, and the squared distance of the teacher's pooled features from a linear map of the
/// student's. It writes down what it saw.
class Hint : public Method {
 public:
  struct Seen {
    std::vector<std::int64_t> indices;
    std::size_t views = 0;
    std::size_t stages = 0;
    bool before_relu = false;
    std::int64_t epoch = 0;
    std::int64_t step = 0;
    std::vector<std::int64_t> train_labels;
    std::int64_t classes = 0;
    Tensor class_means;
    bool same_logits = false;  ///< of both views, the teacher's
  };
  Seen seen;
  Needs wanted{.features = true, .before_relu = true};

  Needs needs() const override { return wanted; }
  std::vector<std::string> terms() const override { return {"cross_entropy", "hint"}; }
  std::int64_t loss_since(std::int64_t epoch) const override { return epoch; }
  void connect(const Outputs& student, const Outputs& teacher, const TrainingSet& train) override {
    seen.train_labels = {train.labels.begin(), train.labels.end()};
    seen.classes = train.classes;
    seen.class_means = train.class_means;
    map_ = &add<Linear>("map", student.features.pooled.size(1), teacher.features.pooled.size(1));
  }
  Loss loss(const DistillBatch& batch) override {
    const auto indices = batch.indices.data<std::int64_t>();
    seen.indices = {indices.begin(), indices.end()};
    seen.views = batch.student.size();
    seen.stages = batch.student[0].features.stages.size();
    seen.before_relu = !batch.student[0].features.before_relu.empty();
    seen.epoch = batch.epoch;
    seen.step = batch.step.data<std::int64_t>()[0];
    CHECK(batch.teacher.size() == batch.student.size());
    if (seen.views == 2)
      seen.same_logits = values_of(batch.teacher[0].logits) == values_of(batch.teacher[1].logits);
    const Tensor ce = task_loss(batch.student[0].logits, batch.labels);
    const Tensor hint =
        mean(square((*map_)(batch.student[0].features.pooled) - batch.teacher[0].features.pooled));
    return {.task = ce, .distillation = 20.0F * hint, .terms = {ce, hint}};
  }

 private:
  Linear* map_ = nullptr;
};

}  // namespace

TEST_CASE("three steps of kd are those of a loop written out, to the bit") {
  const auto teacher = network("resnet14", 1);
  teacher->freeze();
  const auto student = network("resnet8", 2);
  const auto method = make_kd();
  const auto optimizer = make_sgd(parameters_of(*student, *method), {});
  optimizer->set_learning_rate(0.1F);
  TrainStep step({*student, teacher.get(), *method}, *optimizer, {.batch_size = 5});
  step.start_epoch(0);

  const auto by_hand = network("resnet8", 2);
  const auto other = make_sgd(*by_hand, {});
  other->set_learning_rate(0.1F);
  for (std::int64_t i = 0; i < 3; ++i) {
    const Batch batch = random_batch(5, "batch" + std::to_string(i));
    const StepMetrics metrics = step.run(batch, i).read();
    other->zero_grad();
    Tensor wanted;
    {
      const NoGrad no_grad;
      wanted = (*teacher)(batch.images);
    }
    const Loss loss = kd_loss((*by_hand)(batch.images), wanted, batch.labels, {});
    backward(loss.total());
    other->step();
    CHECK(metrics.loss == loss.total().item());
    REQUIRE(metrics.terms.size() == 2);
    CHECK(metrics.terms[1] == loss.terms[1].item());
  }
  CHECK(same_weights(*student, *by_hand));
  CHECK_FALSE(same_weights(*student, *network("resnet8", 2)));
}

TEST_CASE("without a difference of momenta, task and distillation apart are what they are together") {
  const auto teacher = network("resnet14", 1);
  teacher->freeze();
  const auto trained = [&](bool apart, float delta) {
    auto student = network("resnet8", 2);
    const auto method = make_kd();
    auto parameters = parameters_of(*student, *method);
    const auto optimizer =
        apart ? make_dot(std::move(parameters), {.delta = delta}) : make_sgd(std::move(parameters), {});
    optimizer->set_learning_rate(0.05F);
    TrainStep step({*student, teacher.get(), *method}, *optimizer, {.batch_size = 5});
    step.start_epoch(0);
    for (std::int64_t i = 0; i < 3; ++i) step.run(random_batch(5, "batch" + std::to_string(i)), i);
    return values_of(student->parameters()[0].tensor.detach());
  };
  const auto distance = [](const std::vector<float>& a, const std::vector<float>& b) {
    float largest = 0.0F;
    for (std::size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(a[i] - b[i]));
    return largest;
  };
  const std::vector<float> together = trained(false, 0.0F);
  CHECK(distance(trained(true, 0.0F), together) < 1e-5F);
  CHECK(distance(trained(true, 0.075F), together) > 1e-4F);
}

TEST_CASE("a method's parameters are trained beside the student's, and are no part of it") {
  const auto teacher = network("resnet8x4", 1);
  teacher->freeze();
  const auto student = network("resnet8", 2);
  const std::size_t student_tensors = state_dict(*student).size();
  Hint hint;
  const TrainStepOptions options{.batch_size = 4};
  const Distillation distillation{*student, teacher.get(), hint};
  const std::vector<std::int64_t> labels{0, 2, 2, 1, 0};
  connect(distillation, {.shape = image, .labels = labels, .classes = 3}, options, 9);
  CHECK(hint.seen.train_labels == labels);
  CHECK(hint.seen.classes == 3);
  CHECK_FALSE(hint.seen.class_means.defined());
  CHECK(same_weights(*student, *network("resnet8", 2)));  // the dry run leaves no trace in the statistics
  CHECK(student->training());
  const auto parameters = hint.parameters();
  REQUIRE(parameters.size() == 2);
  CHECK(parameters[0].tensor.shape() == Shape{256, 64});
  const std::vector<float> before = values_of(parameters[0].tensor.detach());
  CHECK(before[0] != 0.0F);  // initialised

  const auto optimizer = make_sgd(parameters_of(*student, hint), {});
  optimizer->set_learning_rate(0.01F);
  TrainStep step(distillation, *optimizer, options);
  step.start_epoch(3);
  const Batch batch = random_batch(4, "batch");
  const StepMetrics first = step.run(batch, 21).read();
  CHECK(hint.seen.indices == std::vector<std::int64_t>(batch.indices.data<std::int64_t>().begin(),
                                                       batch.indices.data<std::int64_t>().end()));
  CHECK(hint.seen.views == 1);
  CHECK(hint.seen.stages == 4);
  CHECK(hint.seen.before_relu);
  CHECK(hint.seen.epoch == 3);
  CHECK(hint.seen.step == 21);
  CHECK(first.loss == doctest::Approx(first.terms[0] + 20.0F * first.terms[1]));
  CHECK(values_of(hint.parameters()[0].tensor.detach()) != before);
  for (std::int64_t i = 22; i < 40; ++i) step.run(batch, i);
  CHECK(step.run(batch, 40).read().terms[1] < first.terms[1]);

  CHECK(state_dict(*student).size() == student_tensors);
  const NamedTensors state = optimizer->state();
  CHECK(has(state, "velocity.method.map.weight"));
  CHECK(has(state, "velocity.conv1.weight"));

  // The training state has both.
  const TemporaryFolder folder;
  TrainingState saved;
  saved.position.step = 41;
  saved.position.sums.images = 4;
  saved.config = "{}";
  saved.train_images = 77;
  saved.model = state_dict(*student);
  saved.method = state_dict(hint);
  saved.optimizer = state;
  write_training_state(folder / "state.safetensors", saved);
  const TrainingState read = read_training_state(folder / "state.safetensors");
  CHECK(read.model.size() == student_tensors);
  REQUIRE(read.method.size() == 2);
  CHECK(read.method[0].first == "map.weight");
  CHECK(values_of(read.method[0].second) == values_of(saved.method[0].second));
}

TEST_CASE("a method that needs them gets the teacher's means of each class") {
  const auto teacher = network("resnet8", 1);
  teacher->freeze();
  const auto student = network("resnet8", 2);
  Hint hint;
  hint.wanted.class_means = true;
  const Batch first = random_batch(4, "one");
  const Batch second = random_batch(3, "other");
  const auto each = [&](const std::function<void(const Batch&)>& use) {
    use(first);
    use(second);
  };
  constexpr std::int64_t more = 2 * classes;  // some without an image
  connect({*student, teacher.get(), hint}, {.shape = image, .classes = more, .for_each_batch = each}, {}, 0);
  const Tensor& means = hint.seen.class_means;
  REQUIRE(means.size(0) == more);
  const NoGrad no_grad;
  std::vector<double> sums(static_cast<std::size_t>(means.numel()), 0.0);
  std::vector<double> counts(static_cast<std::size_t>(more), 0.0);
  const auto width = static_cast<std::size_t>(means.size(1));
  for (const Batch* batch : {&first, &second}) {
    Features features;
    teacher->forward(batch->images, &features);
    for (std::size_t b = 0; b < batch->labels.data<std::int64_t>().size(); ++b) {
      const auto label = static_cast<std::size_t>(batch->labels.data<std::int64_t>()[b]);
      counts[label] += 1.0;
      for (std::size_t d = 0; d < width; ++d)
        sums[label * width + d] += static_cast<double>(features.pooled.data<float>()[b * width + d]);
    }
  }
  for (std::size_t i = 0; i < sums.size(); ++i) {
    const double mean = sums[i] / std::max(1.0, counts[i / width]);
    CHECK(static_cast<double>(means.data<float>()[i]) == doctest::Approx(mean).epsilon(1e-5));
  }
}

TEST_CASE("a method that needs two views gets the second one") {
  const auto teacher = network("resnet8", 1);
  teacher->freeze();
  const auto student = network("resnet8", 2);
  Hint hint;
  hint.wanted.views = 2;
  const Distillation distillation{*student, teacher.get(), hint};
  connect(distillation, {.shape = image}, {}, 0);
  const auto optimizer = make_sgd(parameters_of(*student, hint), {});
  TrainStep step(distillation, *optimizer, {.batch_size = 4});
  step.start_epoch(0);
  Batch batch = random_batch(4, "one");
  batch.second_view = random_batch(4, "other").images;
  step.run(batch, 0);
  CHECK(hint.seen.views == 2);
}

TEST_CASE("mixed images and smoothed labels: three steps are those of a loop written out, to the bit") {
  const auto teacher = network("resnet14", 1);
  teacher->freeze();
  const auto student = network("resnet8", 2);
  const auto method = make_kd();
  const auto optimizer = make_sgd(parameters_of(*student, *method), {});
  optimizer->set_learning_rate(0.1F);
  const MixingOptions mixing{.mixup = 0.4, .cutmix = 1.0};
  TrainStep step({*student, teacher.get(), *method}, *optimizer,
                 {.batch_size = 5, .label_smoothing = 0.2, .mixing = mixing, .seed = 8});
  step.start_epoch(0);

  const auto by_hand = network("resnet8", 2);
  const auto other = make_sgd(*by_hand, {});
  other->set_learning_rate(0.1F);
  const Random random(8, "mixing");
  for (std::int64_t i = 0; i < 3; ++i) {
    const Batch batch = random_batch(i < 2 ? 5 : 3, "batch" + std::to_string(i));
    const StepMetrics metrics = step.run(batch, i).read();
    other->zero_grad();
    const Mixture mixture = draw_mixture(mixing, random, i, batch.images.shape());
    const Tensor images = mix_images(batch.images, mixture);
    Labels labels = batch.labels;
    labels.smoothing = 0.2F;
    labels.mixed_in = labels_mixed_in(batch.labels, classes, mixture);
    labels.share = mean(mixture.mask);
    Tensor wanted;
    {
      const NoGrad no_grad;
      wanted = (*teacher)(images);  // of the same mixed images
    }
    const Tensor logits = (*by_hand)(images);
    const Loss loss = kd_loss(logits, wanted, labels, {});
    backward(loss.total());
    other->step();
    CHECK(metrics.loss == loss.total().item());
    const Tensor& larger = labels.share.item() > 0.5F ? labels.classes : labels.mixed_in;
    CHECK(metrics.correct == count_top_k(logits.detach(), larger, 1).item());
  }
  CHECK(same_weights(*student, *by_hand));
}

TEST_CASE("both views of an image are mixed alike") {
  const auto teacher = network("resnet8", 1);
  teacher->freeze();
  const auto student = network("resnet8", 1);
  Hint hint;
  hint.wanted.views = 2;
  const Distillation distillation{*student, teacher.get(), hint};
  connect(distillation, {.shape = image}, {}, 0);
  const auto optimizer = make_sgd(parameters_of(*student, hint), {});
  TrainStep step(distillation, *optimizer, {.batch_size = 4, .mixing = {.mixup = 1.0}});
  step.start_epoch(0);
  Batch batch = random_batch(4, "one");
  batch.second_view = batch.images;
  step.run(batch, 0);
  CHECK(hint.seen.same_logits);
}

TEST_CASE("without a teacher none is asked") {
  const auto student = network("resnet8", 2);
  const auto method = make_none();
  const auto optimizer = make_sgd(parameters_of(*student, *method), {});
  TrainStep step({*student, nullptr, *method}, *optimizer, {.batch_size = 4});
  step.start_epoch(0);
  const StepMetrics metrics = step.run(random_batch(4, "batch"), 0).read();
  CHECK(metrics.terms.size() == 1);
  CHECK(metrics.loss == metrics.terms[0]);
  CHECK_FALSE(metrics.flat_rows.has_value());
}

}  // namespace generous
