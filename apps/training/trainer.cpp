#include "apps/training/trainer.h"

#include <fmt/format.h>

#include "apps/training/device.h"
#include "apps/training/images.h"
#include "apps/training/run_lock.h"
#include "apps/training/teacher.h"
#include "apps/training/training_loop.h"
#include "core/console.h"
#include "core/files.h"
#include "nn/state_dict.h"

namespace generous {

namespace fs = std::filesystem;

namespace {

/// The saved state that a run goes on from, nothing for a new run. Refuses to overwrite a run, and to resume
/// none.
std::optional<TrainingState> saved_state(const Config& config, const RunFolder& folder) {
  if (config.resume) {
    if (!file_exists(folder.training_state()))
      fail("nothing to resume: there is no {}; start the run without --resume",
           folder.training_state().string());
    TrainingState state = read_training_state(folder.training_state());
    check_same_settings(config, state, folder.training_state());
    return state;
  }
  bool holds_run = file_exists(folder.last_model()) || file_exists(folder.best_model());
  if (!holds_run &&
      file_exists(folder.training_state()))  // a run that ended before its first save holds nothing yet
    holds_run = read_training_state(folder.training_state()).position.step > 0;
  require(!holds_run, "{} already holds a run: go on with it by --resume, or choose another --save_path",
          folder.path.string());
  return std::nullopt;
}

Data load_data(Config& config) {
  Data data{dataset_info(config.dataset), load_images(config, Split::train),
            load_images(config, Split::test)};
  require(data.train.classes == data.test.classes, "{}: the {} training classes are not the {} test classes",
          config.data_dir, data.train.classes.size(), data.test.classes.size());
  const Shape train = image_shape(data.train);
  const Shape test = image_shape(data.test);
  require(train == test, "{}: training images are {}, test images {}", config.data_dir, train.str(),
          test.str());
  return data;
}

std::unique_ptr<Optimizer> make_optimizer(const Config& config, const Module& model) {
  const auto weight_decay = static_cast<float>(config.weight_decay);
  if (config.optimizer == "adam") return make_adam(model, {.weight_decay = weight_decay});
  return make_sgd(model, {.momentum = static_cast<float>(config.momentum),
                          .weight_decay = weight_decay,
                          .nesterov = config.nesterov});
}

void describe(RunLog& log, const Config& config, const Data& data, const Module& model, Device device) {
  const Shape shape = image_shape(data.train);
  log.line(fmt::format(
      "{}: {} ({} parameters) on {}: {} training and {} test images of {} x {} x {}, {} classes",
      name_of(config.program), config.model_name, model.parameter_count(), config.dataset, data.train.size(),
      data.test.size(), shape[0], shape[1], shape[2], data.train.classes.size()));
  log.line(fmt::format("device {}: {}, {}; {}, learning rate {}; seed {}; run folder {}", config.device,
                       backend(device).description(), config.dtype, config.optimizer, config.learning_rate,
                       config.seed, config.save_path));
}

int train_shown(Config config, const MakeObjective& make_objective, Display& display) {
  const RunFolder folder{config.save_path};
  const Device device = set_up_device(config);
  const Placing placing{.device = device, .dtype = choose_dtype(config.dtype, device)};
  create_writable_folder(folder.path);
  const RunLock lock(folder.path);
  remove_abandoned_files(folder.path);
  const std::optional<TrainingState> state = saved_state(config, folder);

  RunLog log(folder.log(), display);
  if (state && state->position.epoch >= config.num_epochs) {
    log.line(fmt::format(
        "{} is complete: {} epochs, best top-1 {:.2f} % in epoch {}; a larger --num_epochs goes on",
        config.save_path, state->position.epoch, state->position.best_accuracy, state->position.best_epoch));
    return 0;
  }

  const Data data = load_data(config);
  const ModelOptions options = model_options(config, data.train, device);
  const std::unique_ptr<Module> model = make_model(config.model_name, options);
  const Objective objective = make_objective(config, options);
  const std::unique_ptr<Optimizer> optimizer = make_optimizer(config, *model);
  const bool begun = state && state->position.step > 0;
  if (!begun && !config.init.empty()) {
    const fs::path init = find_checkpoint("init", config.init, config.save_path);
    load_state_dict(*model, read_safetensors(init).tensors, init.string());
  }
  TrainingLoop loop(config, placing, data, *model, *optimizer, objective, log);
  if (state) {
    log.keep_earlier_lines();
    loop.restore(*state, folder.training_state());
  }

  const std::string teacher_note = loop.examine_teacher();

  // Everything is valid: from here on the folder changes.
  describe(log, config, data, *model, device);
  if (!lock.holds())
    log.line(fmt::format("note: no locks on the file system of {}: start no second program in it",
                         config.save_path));
  for (const Setting& setting : settings(config))
    if (setting.unused) log.line(fmt::format("note: {} is accepted, and without effect", setting.key));
  if (!teacher_note.empty()) log.line(fmt::format("note: {}", teacher_note));
  if (config.paper_metrics && config.dataset == "tiny_imagenet" && !config.augmentation)
    log.line(
        "note: the paper's program augments the training images of Tiny-ImageNet even with augmentation 0, "
        "this one does not");
  if (state)
    log.line(fmt::format("resumed in epoch {} after step {} of the run", state->position.epoch + 1,
                         state->position.step));
  write_file_atomically(params_path(config), to_json(config));
  if (!state) loop.save_start();
  return loop.run();
}

}  // namespace

int train(const Config& config, const MakeObjective& make_objective) {
  Display display;
  const int code = train_shown(config, make_objective, display);
  const std::string lost = display.finish();
  if (lost.empty()) return code;
  const std::string message = fmt::format("standard output did not take every line ({}); {} has them all",
                                          lost, RunFolder{config.save_path}.log().string());
  if (code == 0) throw Error(message);
  print_error(fmt::format("{}: {}", name_of(config.program), message));
  return code;
}

}  // namespace generous
