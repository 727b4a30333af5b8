// Every method with pairs of networks of all kinds: two steps, and the second one again from the
// state after the first.

#include <doctest/doctest.h>

#include <cmath>

#include "apps/training/train_step.h"
#include "core/random.h"
#include "nn/distill/methods.h"
#include "nn/models/registry.h"
#include "nn/state_dict.h"

namespace generous {
namespace {

constexpr std::int64_t classes = 5;
constexpr std::int64_t batch_size = 3;

struct Pair {
  std::string teacher;
  std::string student;
  Shape image;  ///< {H, W, C}
};
const std::vector<Pair> pairs{{"resnet8x4", "resnet8", {32, 32, 3}},   // same family
                              {"wrn_10_2", "shufflev1", {32, 32, 3}},  // another one
                              {"vgg8_bn", "resnet8", {32, 32, 3}},     // another number of stages
                              {"resnet8x4", "wrn_10_1", {64, 64, 3}},
                              {"wrn_10_2", "resnet8", {28, 28, 1}}};

Batch random_batch(const Shape& image, std::int64_t step) {
  const Shape shape{batch_size, image[0], image[1], image[2]};
  Batch batch{Tensor::empty(shape), Tensor::empty({batch_size}, DType::i64),
              Tensor::empty({batch_size}, DType::i64), Tensor::empty(shape)};
  const Random random(3, "images " + std::to_string(step));
  std::uint64_t next = 0;
  for (Tensor* view : {&batch.images, &batch.second_view})
    for (float& value : view->data<float>()) value = random.normal(0, 0, next++);
  for (std::int64_t b = 0; b < batch_size; ++b) {
    batch.indices.data<std::int64_t>()[static_cast<std::size_t>(b)] = batch_size * step + b;
    batch.labels.data<std::int64_t>()[static_cast<std::size_t>(b)] = (batch_size * step + b) % classes;
  }
  return batch;
}

/// A student that learns from a teacher.
struct Run {
  Run(const std::string& name, const Pair& pair)
      : image(pair.image),
        method(make_method(name)),
        teacher(make_model(pair.teacher, {.classes = classes, .image = image, .seed = 1})),
        student(make_model(pair.student, {.classes = classes, .image = image, .seed = 2})) {
    Options options("test");
    method->declare(options);
    if (!method->needs().teacher_trains) teacher->freeze();
    student = student_for(*method, std::move(student), teacher.get(), image, options_of_step, 3);
    for (std::int64_t i = 0; i < 2 * batch_size; ++i) labels.push_back(i % classes);
    connect({*student, teacher.get(), *method},
            {.shape = image,
             .labels = labels,
             .classes = classes,
             .for_each_batch = [this](const auto& use) { use(random_batch(image, 0)); }},
            options_of_step, 3);
    optimizer = make_sgd(parameters_of(*student, *method), {});
    optimizer->set_learning_rate(0.01F);
    step = std::make_unique<TrainStep>(Distillation{*student, teacher.get(), *method}, *optimizer,
                                       options_of_step);
    step->start_epoch(20);
  }
  double take(std::int64_t number) {
    return static_cast<double>(step->run(random_batch(image, number), number).loss.item());
  }

  TrainStepOptions options_of_step{.batch_size = batch_size};
  Shape image;
  std::vector<std::int64_t> labels;
  std::unique_ptr<Method> method;
  std::unique_ptr<Network> teacher;
  std::unique_ptr<Network> student;
  std::unique_ptr<Optimizer> optimizer;
  std::unique_ptr<TrainStep> step;
};

void check_equal(const NamedTensors& one, const NamedTensors& other) {
  REQUIRE(one.size() == other.size());
  for (std::size_t i = 0; i < one.size(); ++i) {
    REQUIRE(one[i].first == other[i].first);
    if (one[i].second.dtype() == DType::f32)
      CHECK_MESSAGE(std::ranges::equal(one[i].second.data<float>(), other[i].second.data<float>()),
                    one[i].first);
  }
}

}  // namespace

TEST_CASE("every method joins every kind of pair, and resumes to the bit") {
  std::vector<std::string> refused;
  for (const MethodEntry& entry : methods()) {
    if (!entry.make()->needs().teacher) continue;
    for (const Pair& pair : pairs) {
      CAPTURE(entry.name);
      CAPTURE(pair.teacher);
      CAPTURE(pair.student);
      CAPTURE(pair.image.str());
      std::unique_ptr<Run> whole;
      try {
        whole = std::make_unique<Run>(entry.name, pair);
      } catch (const Error& error) {
        const std::string message = error.what();
        CHECK(message.starts_with(entry.name + ": "));
        CHECK(message.find('\n') == std::string::npos);
        refused.push_back(message);
        continue;
      }
      CHECK(std::isfinite(whole->take(0)));
      const NamedTensors student = state_dict(*whole->student);
      const NamedTensors method = state_dict(*whole->method);
      const NamedTensors optimizer = whole->optimizer->state();
      const double second = whole->take(1);
      CHECK(std::isfinite(second));

      Run resumed(entry.name, pair);
      load_state_dict(*resumed.student, student, "the student");
      load_state_dict(*resumed.method, method, "the method");
      resumed.optimizer->load_state(optimizer, "the optimiser");
      CHECK(resumed.take(1) == second);
      check_equal(state_dict(*resumed.student), state_dict(*whole->student));
      check_equal(state_dict(*resumed.method), state_dict(*whole->method));
    }
  }
  for (const std::string& message : refused) MESSAGE(message);
  CHECK(refused.size() <= 3);
}

}  // namespace generous
