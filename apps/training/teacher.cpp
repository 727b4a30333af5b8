#include "apps/training/teacher.h"

#include <fmt/format.h>

#include <algorithm>

#include "apps/training/trained_network.h"
#include "core/autograd.h"
#include "core/counted.h"
#include "core/error.h"
#include "core/finite.h"

namespace generous {

void TeacherSettings::declare(Options& options, const TrainingStage& stage, const std::string& save_path) {
  if (stage.teacher_model.empty()) return;
  const std::string file = options.given_text(stage.teacher_weights, stage.teacher_weights_alias);
  const auto found = WeightFinder{save_path, {}}.look(file);
  // Of weights that are not there, `load` says so.
  model.declare(options,
                {.name = stage.teacher_model,
                 .help = "the teacher's network",
                 .alias = stage.teacher_model_alias,
                 .required = file.empty() || found,
                 .weights = found ? found->path : ""},
                found ? read_origin(found->path) : WeightsOrigin{});
  options.add(
      stage.teacher_weights, weights,
      {.help = "the teacher's weights (.safetensors, or what PyTorch saved), or the folder of its run",
       .alias = stage.teacher_weights_alias,
       .required = true});
  options.add("teacher_accuracy", accuracy,
              {.help = "measure the teacher on the test images before training starts",
               .role = Role::flexible,
               .left_out = true});
}

Teacher TeacherSettings::load(const WeightFinder& finder, const TrainingStage& stage,
                              const ModelOptions& options, const WeightsOrigin& student, bool trains) const {
  if (stage.teacher_model.empty()) return {};
  const FoundWeights found = finder.find(stage.teacher_weights, weights);
  TrainedNetwork trained = load_network(model, options, found.path,
                                        {.classes = student.classes, .normalisation = student.normalisation});
  if (!found.note.empty()) trained.weights.note += (trained.weights.note.empty() ? "" : "; ") + found.note;
  Teacher teacher{.model = std::move(trained.network),
                  .weights = std::move(trained.weights),
                  .name = model.name,
                  .path = weights,
                  .measured = accuracy};
  if (!trains) teacher.model->freeze();
  return teacher;
}

TeacherFault Teacher::examine(const Tensor& images) const {
  if (model == nullptr) return {};
  const NoGrad no_grad;
  TeacherFault fault = fault_of_teacher((*model)(images));
  if (!fault.what.empty()) fault.what = fmt::format("the teacher {} {}", path, fault.what);
  return fault;
}

TeacherFault fault_of_teacher(const Tensor& logits) {
  const Tensor on_host = cast(logits, DType::f32).to(Device::cpu);
  if (const auto bad = first_not_finite(on_host))
    return {.what = fmt::format("gives {} for class {} of image {} of this batch", bad->value, bad->index[1],
                                bad->index[0]),
            .fatal = true};
  const auto classes = static_cast<std::size_t>(on_host.size(1));
  for (std::span<const float> rest = on_host.data<float>(); !rest.empty(); rest = rest.subspan(classes)) {
    const auto [smallest, largest] = std::ranges::minmax(rest.first(classes));
    if (smallest != largest) return {};
  }
  return {.what = fmt::format(
              "gives the same logit for every class (sigma is 0) {} of this batch",
              on_host.size(0) == 1 ? "for the one image" : fmt::format("in all {} images", on_host.size(0)))};
}

}  // namespace generous
