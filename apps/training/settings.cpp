#include "apps/training/settings.h"

#include "apps/training/recipe.h"

namespace generous {

namespace {

constexpr double largest_seed = 9007199254740991;  // 2^53 - 1: exact in every JSON reader

std::vector<std::string> student_methods() {
  std::vector<std::string> names;
  for (const MethodEntry& method : methods())
    if (method.for_students) names.push_back(method.name);
  return names;
}

}  // namespace

void TrainingSettings::declare(Options& options, const TrainingStage& stage) {
  run.declare(options);
  list.declare(options);
  options.group("model");
  model.declare(options, {.name = "model_name", .help = "the network"});
  images.declare(options);
  parts.declare(options);
  options.defaults(recipe(model.name, images.dataset));

  batches.declare(options);
  optimizer.declare(options);
  options.add("seed", seed,
              {.help = "of all that is random: initial weights, order, augmentation, mixing, dropout",
               .min = 0,
               .max = largest_seed});
  options.add(
      "init", init,
      {.help = "weights to start from (.safetensors, or what PyTorch saved), or the folder of their run",
       .role = Role::flexible});
  loop.declare(options);

  options.group("method");
  method_name = stage.method.empty() ? "kd" : stage.method;
  if (stage.method.empty())
    options.add(
        "method", method_name,
        {.help = "the distillation method, or several whose terms are added up, beside one cross-entropy",
         .choices = student_methods(),
         .several = true});
  teacher.declare(options, stage, run.save_path);
  method = make_method(method_name);
  options.defaults(method_recipe(method_name, images.dataset));
  method->declare(options);

  paper_model.declare(options);
  options.add("cuda", cuda, {.help = "see --device", .role = Role::unused});
  device.declare(options);
  dtype.declare(options);
  step.declare(options);
  report.declare(options);
}

void tell_stages_apart(Options& options, const TrainingStage& stage, std::span<const TrainingStage> stages) {
  for (const TrainingStage& other : stages) {
    Options of_stage(other.program);
    TrainingSettings settings;
    settings.declare(of_stage, other);
    options.belongs_to(other.program, of_stage, true);
  }
  if (stage.method.empty())
    for (const std::string& name : student_methods()) {
      Options of_method(name);
      const std::unique_ptr<Method> method = make_method(name);
      method->declare(of_method);
      options.belongs_to("method " + name, of_method);
    }
  tell_models_apart(options);
}

}  // namespace generous
