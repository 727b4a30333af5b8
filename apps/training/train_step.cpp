#include "apps/training/train_step.h"

#include <algorithm>

namespace generous {

namespace {

constexpr int warm_up_steps = 2;

/// {}: StepMetrics::correct
Tensor count_correct(const Tensor& logits, const Labels& labels) {
  const Tensor correct = count_top_k(logits, labels.classes, 1);
  if (!labels.mixed_in.defined()) return correct;
  const Tensor larger = step(labels.share - 0.5F);  // {}: 1 if `classes` have the larger share
  return larger * correct + (-larger + 1.0F) * count_top_k(logits, labels.mixed_in, 1);
}

/// What a network says of a black image, without leaving a trace in it; nothing where nothing is needed.
Outputs outputs_for_one_image(Network* network, const Shape& image, const TrainStepOptions& options,
                              const Needs& needs) {
  if (network == nullptr || !(needs.features || needs.classifiers)) return {};
  const NoGrad no_grad;
  const bool training = network->training();
  if (training) network->eval();
  const Tensor black = Tensor::zeros({1, image[0], image[1], image[2]}, DType::f32, options.device);
  Outputs outputs = outputs_of(*network, cast(black, options.dtype), needs);
  if (training) network->train();
  return outputs;
}

/// {classes, D}: the mean of the teacher's pooled vectors of each class, 0 without an image.
Tensor class_means(Network& teacher, const TrainingImages& images, const TrainStepOptions& options) {
  const NoGrad no_grad;
  Tensor sums;
  Tensor counts;
  images.for_each_batch([&](const Batch& batch) {
    const Outputs outputs = outputs_of(teacher, cast(batch.images, options.dtype), {.features = true});
    const Tensor pooled = cast(outputs.features.pooled, DType::f32);
    const Tensor of_class = one_hot(batch.labels, images.classes);  // {B, classes}
    const Tensor sum = matmul(of_class, pooled, true, false);
    const Tensor count = reshape(sum_to(of_class, {images.classes}), {images.classes, 1});
    sums = sums.defined() ? sums + sum : sum;
    counts = counts.defined() ? counts + count : count;
  });
  return sums / (counts + step(-counts + 1.0F));  // of no images: 0 / 1
}

/// x {}, where it is defined, times a share of the batch; itself for the whole of it.
Tensor weighted(const Tensor& x, float share) {
  return share == 1.0F || !x.defined() ? x.detach() : x.detach() * share;
}

Tensor sum_of(const Tensor& a, const Tensor& b) {
  if (!a.defined() || !b.defined()) return a.defined() ? a : b;
  return a + b;
}

}  // namespace

Outputs outputs_of(Network& network, const Tensor& images, const Needs& needs) {
  Outputs outputs;
  outputs.features.wants_before_relu = needs.before_relu;
  outputs.logits = network.forward(images, needs.features ? &outputs.features : nullptr);
  if (needs.classifiers) outputs.classifier = network.classifier();
  return outputs;
}

std::unique_ptr<Network> student_for(Method& method, std::unique_ptr<Network> student, Network* teacher,
                                     const Shape& image, const TrainStepOptions& options,
                                     std::uint64_t seed) {
  const Outputs of_student = outputs_for_one_image(student.get(), image, options, method.needs());
  const Outputs of_teacher = outputs_for_one_image(teacher, image, options, method.needs());
  return method.student(std::move(student), of_student, of_teacher, seed);
}

void connect(const Distillation& distillation, const TrainingImages& images, const TrainStepOptions& options,
             std::uint64_t seed) {
  Method& method = distillation.method;
  const Needs needs = method.needs();
  const auto outputs = [&](Network* network) {
    return outputs_for_one_image(network, images.shape, options, needs);
  };
  TrainingSet train{.labels = images.labels, .classes = images.classes};
  if (needs.class_means) train.class_means = class_means(*distillation.teacher, images, options);
  method.connect(outputs(&distillation.student), outputs(distillation.teacher), train);
  method.initialise(seed);
  method.to(options.device);
}

void TrainStepOptions::declare(Options& options) {
  options.group("training");
  options.add("label_smoothing", label_smoothing,
              {.help = "this much of each label's weight is spread over all classes", .min = 0, .max = 1});
  options.add(
      "mixup", mixing.mixup,
      {.help = "A: images are mixed in pairs, with shares of Beta(A, A); 0: not", .min = 0, .max = 1000});
  options.add("cutmix", mixing.cutmix,
              {.help = "A: a box of each image is another one's, with a share of Beta(A, A); 0: not; with "
                       "mixup, each batch has one of them",
               .min = 0,
               .max = 1000});
  options.add(
      "sync_batch_norm", sync_batch_norm,
      {.help = "several processes: batch norm takes its statistics over the whole batch, not over each "
               "process's slice",
       .role = Role::flexible,
       .left_out = true});
  options.group("device");
  options.add(
      "record", record,
      {.help = "cuda: record a training step once and replay it; 0: an error in a kernel names the op",
       .role = Role::flexible});
}

TrainStep::TrainStep(const Distillation& distillation, Optimizer& optimizer, const TrainStepOptions& options,
                     WeightAverage* average)
    : student_(distillation.student),
      teacher_(distillation.teacher),
      method_(distillation.method),
      needs_(method_.needs()),
      optimizer_(optimizer),
      average_(average),
      options_(options),
      alone_(options.group == nullptr ? group_of_one() : nullptr),
      group_(options.group == nullptr ? *alone_ : *options.group),
      step_(Tensor::zeros({}, DType::i64, options.device)),
      one_(Tensor::full({}, 1.0F, options.device)),
      first_row_(std::make_shared<std::int64_t>(0)),
      gradients_(parameters_of(student_, method_), optimizer.losses(), group_, options.in_order),
      metrics_(method_.terms().size(), options.device),
      mixing_random_(options.seed, "mixing") {
  student_.count_steps_by(step_, first_row_);
  method_.count_steps_by(step_, first_row_);
  if (!options.sync_batch_norm || group_.size() == 1) return;
  for (Module* module :
       {static_cast<Module*>(&student_), static_cast<Module*>(teacher_), static_cast<Module*>(&method_)})
    if (module != nullptr) module->normalise_with(group_);
}

void TrainStep::start_epoch(std::int64_t epoch) {
  const std::int64_t since = method_.loss_since(epoch);
  if (since == epoch_) return;
  epoch_ = since;
  // What is computed may be another thing from now on. A step by hand meets its kernels before they are
  // recorded: to load them, or to plan a convolution, is not allowed meanwhile.
  recorded_ = nullptr;
  whole_batches_ = std::min(whole_batches_, warm_up_steps - 1);
}

void TrainStep::check_slices(std::span<const Batch> slices) const {
  require(!slices.empty(), "a training step has no slice of a batch");
  if (slices.size() == 1 && slices[0].rows() == slices[0].whole_rows()) return;
  require(!options_.mixing.on(), "mixed images: expected a whole batch, found a slice of {} of its {} images",
          slices[0].rows(), slices[0].whole_rows());
  require(!needs_.relational,
          "a loss that is no mean over images: expected a whole batch, found a slice of {} of its {} images",
          slices[0].rows(), slices[0].whole_rows());
}

PendingMetrics TrainStep::run(std::span<const Batch> slices, std::int64_t step) {
  check_slices(slices);
  metrics_.begin_step();
  backend(options_.device).copy_from_host(&step, step_);
  const Mixture mixture = mixture_of(slices[0], step);
  if (!runs_recorded(slices)) {
    compute(slices, mixture);
    if (slices[0].whole_rows() == options_.batch_size) ++whole_batches_;
    return metrics_.end_step();
  }
  keep(slices, mixture);
  if (recorded_ == nullptr)
    recorded_ = backend(options_.device).record([this] { compute(inputs_, mixture_); });
  else
    recorded_->replay();
  return metrics_.end_step();
}

bool TrainStep::runs_recorded(std::span<const Batch> slices) const {
  return options_.record && options_.device != Device::cpu && whole_batches_ >= warm_up_steps &&
         slices[0].whole_rows() == options_.batch_size;
}

/// On the device; empty where nothing is mixed.
Mixture TrainStep::mixture_of(const Batch& batch, std::int64_t step) const {
  if (!options_.mixing.on()) return {};
  Mixture mixture = draw_mixture(options_.mixing, mixing_random_, step, batch.shape());
  return {.mask = mixture.mask.to(options_.device), .others = mixture.others.to(options_.device)};
}

/// Copies slices and their mixture to where recorded work reads them, images as the networks take them.
void TrainStep::keep(std::span<const Batch> slices, const Mixture& mixture) {
  const auto keep_in = [this](const Tensor& from, Tensor& to, DType dtype) {
    if (!from.defined()) return;
    if (!to.defined()) to = Tensor::empty(from.shape(), dtype, options_.device);
    if (from.dtype() == dtype)
      backend(options_.device).copy(from, to);
    else
      backend(options_.device).cast(from, to);
  };
  const DType dtype = options_.mixing.on() ? DType::f32 : options_.dtype;
  inputs_.resize(slices.size());
  for (std::size_t i = 0; i < slices.size(); ++i) {
    const Batch& slice = slices[i];
    Batch& kept = inputs_[i];
    for (Tensor Batch::*images : {&Batch::images, &Batch::second_view})
      keep_in(slice.*images, kept.*images, dtype);
    for (Tensor Batch::*part : {&Batch::labels, &Batch::indices})
      keep_in(slice.*part, kept.*part, (slice.*part).dtype());
    kept.unmade.resize(slice.unmade.size());
    for (std::size_t k = 0; k < slice.unmade.size(); ++k) {
      const AugmentInputs& from = slice.unmade[k].of;
      AugmentInputs& to = kept.unmade[k].of;
      if (slice.unmade[k].of_dataset)
        to.images = from.images;
      else
        keep_in(from.images, to.images, DType::u8);
      keep_in(from.placements, to.placements, DType::i64);
      to.normalise = from.normalise;
    }
    kept.first_row = slice.first_row;
    kept.whole = slice.whole;
  }
  for (Tensor Mixture::*part : {&Mixture::mask, &Mixture::others})
    keep_in(mixture.*part, mixture_.*part, (mixture.*part).dtype());
}

void TrainStep::Measures::add(const Measures& others) {
  loss = sum_of(loss, others.loss);
  terms.resize(others.terms.size());
  for (std::size_t i = 0; i < terms.size(); ++i) terms[i] = sum_of(terms[i], others.terms[i]);
  correct = sum_of(correct, others.correct);
  flat_rows = sum_of(flat_rows, others.flat_rows);
}

void TrainStep::compute(std::span<const Batch> slices, const Mixture& mixture) {
  // What the last step left goes first, so that this one finds its memory.
  optimizer_.zero_grad();
  Measures measured;
  for (const Batch& slice : slices) measured.add(learn_from(slice, mixture, &slice == &slices.back()));
  const bool apart = optimizer_.losses() > 1;
  for (std::size_t loss = 0; loss < optimizer_.losses(); ++loss) {
    gradients_.give(loss);
    if (apart) optimizer_.take_gradients(loss);
  }
  optimizer_.step();
  if (average_ != nullptr) average_->update();
  sum_over_group(measured);
  metrics_.store(measured.loss, measured.terms, measured.correct, measured.flat_rows);
}

void TrainStep::sum_over_group(Measures& measured) {
  if (group_.size() == 1) return;
  std::vector<Tensor*> scalars{&measured.loss, &measured.correct};
  if (measured.flat_rows.defined()) scalars.push_back(&measured.flat_rows);
  for (Tensor& term : measured.terms) scalars.push_back(&term);
  std::vector<Tensor> sums;
  for (Tensor* scalar : scalars) {
    *scalar = scalar->clone();  // the loss and its only term may be one
    sums.push_back(*scalar);
  }
  group_.start_sum(std::move(sums), options_.in_order)->wait();
}

/// Adds the gradients of a slice to those of the batch; returns its share of what is measured of the batch.
TrainStep::Measures TrainStep::learn_from(const Batch& slice, const Mixture& mixture, bool last) {
  *first_row_ = slice.first_row;
  DistillBatch seen{.student = {},
                    .teacher = {},
                    .labels = slice.labels,
                    .indices = slice.indices,
                    .step = step_,
                    .epoch = epoch_};
  for (int view = 0; view < needs_.views; ++view) {
    const bool mixed = mixture.mask.defined();
    Tensor images = slice.view(static_cast<std::size_t>(view), mixed ? DType::f32 : options_.dtype);
    if (mixed) images = cast(mix_images(images, mixture), options_.dtype);
    seen.student.push_back(outputs_of(student_, images, needs_));
    if (teacher_ == nullptr) continue;
    const NoGrad no_grad;
    seen.teacher.push_back(outputs_of(*teacher_, images, needs_));
  }
  const Tensor logits = seen.student[0].logits;
  seen.labels.smoothing = static_cast<float>(options_.label_smoothing);
  if (mixture.mask.defined()) {
    seen.labels.mixed_in = labels_mixed_in(slice.labels, logits.size(1), mixture);
    seen.labels.share = mean(mixture.mask);
  }
  const Loss loss = method_.loss(seen);
  const Tensor total = loss.total();
  const float share = static_cast<float>(slice.rows()) / static_cast<float>(slice.whole_rows());
  const Tensor dloss = share == 1.0F ? one_ : Tensor::full({}, share, options_.device);
  if (optimizer_.losses() == 1) {
    backward(total, dloss, Graph::freed, gradients_.sender(0, last));
    gradients_.take(0, last);
  } else {
    // What it keeps apart no further goes with the last one.
    const std::vector<Tensor> parts = loss.parts();
    const std::size_t last_loss = optimizer_.losses() - 1;
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const std::size_t loss_index = std::min(i, last_loss);
      const bool complete = i < last_loss || i + 1 == parts.size();
      backward(parts[i], dloss, i + 1 < parts.size() ? Graph::kept : Graph::freed,
               gradients_.sender(loss_index, last && complete));
      if (complete) gradients_.take(loss_index, last);
    }
  }
  const NoGrad no_grad;
  Measures measured{.loss = weighted(total, share),
                    .terms = {},
                    .correct = count_correct(logits.detach(), seen.labels),
                    .flat_rows = loss.flat_rows.defined() ? loss.flat_rows.detach() : Tensor()};
  for (const Tensor& term : loss.terms) measured.terms.push_back(weighted(term, share));
  return measured;
}

}  // namespace generous
