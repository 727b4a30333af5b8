#include "apps/training/trainer.h"

#include <fmt/format.h>

#include "apps/training/batches.h"
#include "apps/training/device.h"
#include "apps/training/images.h"
#include "apps/training/run_folder.h"
#include "apps/training/run_lock.h"
#include "apps/training/training_loop.h"
#include "core/console.h"
#include "core/files.h"
#include "core/hash.h"
#include "core/threads.h"

namespace generous {

namespace {

Data load_data(Config& config) {
  Data data{
      dataset_info(config.dataset), load_images(config, Split::train), load_images(config, Split::test), {}};
  require(data.train.classes == data.test.classes, "{}: the {} training classes are not the {} test classes",
          config.data_dir, data.train.classes.size(), data.test.classes.size());
  const Shape train = image_shape(data.train);
  const Shape test = image_shape(data.test);
  require(train == test, "{}: training images are {}, test images {}", config.data_dir, train.str(),
          test.str());
  return data;
}

std::string hash_of(const Tensor& images) {
  Hash hash;
  hash.add(images.shape().str());
  hash.add({static_cast<const std::byte*>(images.raw()), images.bytes()});
  return hash.hex();
}

std::string hash_of(const std::vector<std::int64_t>& labels) {
  Hash hash;
  hash.add(std::as_bytes(std::span(labels)));
  return hash.hex();
}

Inputs inputs_of(const Data& data, const Objective& objective) {
  Inputs inputs{.classes = data.train.classes,
                .hashes = {{"training images", hash_of(data.train.images)},
                           {"training labels", hash_of(data.train.labels)},
                           {"test images", hash_of(data.test.images)},
                           {"test labels", hash_of(data.test.labels)}},
                .threads = settle_threads()};
  if (!objective.teacher.hash.empty()) inputs.hashes["teacher's weights"] = objective.teacher.hash;
  return inputs;
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

  Data data = load_data(config);
  const ModelOptions options = model_options(config, data.train, device);
  check_batches(config, options, data.train.size());
  const std::unique_ptr<Module> model = make_model(config.model_name, options);
  const Objective objective = make_objective(config, options, data.train.classes);
  data.inputs = inputs_of(data, objective);
  const std::unique_ptr<Optimizer> optimizer = make_optimizer(config, *model);
  std::vector<std::string> notes = {objective.teacher.note};
  const bool begun = state && state->position.step > 0;
  if (!begun && !config.init.empty())
    notes.push_back(
        load_weights(*model, find_checkpoint("init", config.init, config.save_path), data.train.classes)
            .note);
  TrainingLoop loop(config, placing, data, *model, *optimizer, objective, log);
  if (state) {
    log.keep_earlier_lines();
    const std::vector<std::string> found = loop.restore(*state, folder.training_state());
    notes.insert(notes.end(), found.begin(), found.end());
  }
  notes.push_back(loop.examine_teacher());
  for (const std::string& change : changes_of_params(config))
    notes.push_back(fmt::format("{} changes: {}", params_path(config).string(), change));

  // Everything is valid: from here on the folder changes.
  describe(log, config, data, *model, device);
  if (!lock.holds())
    log.line(fmt::format("note: no locks on the file system of {}: start no second program in it",
                         config.save_path));
  for (const Setting& setting : settings(config))
    if (setting.unused) log.line(fmt::format("note: {} is accepted, and without effect", setting.key));
  for (const std::string& note : notes)
    if (!note.empty()) log.line(fmt::format("note: {}", note));
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
