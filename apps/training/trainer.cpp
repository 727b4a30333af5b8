#include "apps/training/trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "apps/training/recipe.h"
#include "apps/training/record.h"
#include "apps/training/run_lock.h"
#include "apps/training/settings.h"
#include "apps/training/step_memory.h"
#include "apps/training/together.h"
#include "apps/training/trained_network.h"
#include "core/console.h"
#include "core/counted.h"
#include "core/files.h"
#include "core/hash.h"
#include "core/threads.h"
#include "core/waiting.h"
#include "nn/state_dict.h"

namespace generous {

namespace {

/// What a run that goes on has normalised its images by: numbers, or "dataset" where its state is from before
/// class folders had numbers of their own. Nothing for a new run.
std::string normalisation_so_far(const std::optional<TrainingState>& state) {
  if (!state) return {};
  return state->inputs.normalisation.empty() ? "dataset" : state->inputs.normalisation;
}

/// Pixels around the images before they are cropped: of a run that goes on those that it had, and of one from
/// before they were in proportion the dataset's for whatever size.
std::int64_t crop_padding_of(const TrainingBatchSettings& settings, const Data& data,
                             const std::optional<TrainingState>& state) {
  if (!state || settings.crop_padding != "dataset")
    return settings.crop_pixels(data.info, image_shape(data.train));
  return state->inputs.crop_padding.value_or(data.info.crop_padding);
}

Inputs inputs_of(const Data& data, const Teacher& teacher, std::int64_t slices) {
  Inputs inputs{.classes = data.train.classes,
                .hashes = hashes_of(data),
                .threads = settle_threads(),
                .slices = slices,
                .normalisation = normalisation_of(data),
                .crop_padding = data.info.crop_padding};
  if (!teacher.weights.hash.empty()) inputs.hashes["teacher's weights"] = teacher.weights.hash;
  return inputs;
}

void describe(RunLog& log, const std::string& program, const TrainingSettings& settings, const Data& data,
              const Module& model) {
  const Shape shape = image_shape(data.train);
  const std::string training =
      data.validation ? fmt::format("{} training, {} validation", data.train.size(), data.validation->size())
                      : fmt::format("{} training", data.train.size());
  log.line(fmt::format("{}: {} ({} parameters) on {}: {} and {} of {} x {} x {}, {}", program,
                       settings.model.name, model.parameter_count(), settings.images.dataset, training,
                       counted(data.test.size(), "test image"), shape[0], shape[1], shape[2],
                       counted(std::ssize(data.train.classes), "class")));
  log.line(fmt::format("device {}: {}, {}; {}, learning rate {}; seed {}; run folder {}",
                       settings.device.device, backend(settings.step.device).description(),
                       settings.dtype.dtype, settings.optimizer.optimizer, settings.optimizer.learning_rate,
                       settings.seed, settings.run.save_path));
}

/// The defaults that are of the run's model, dataset and method.
std::map<std::string, std::string> recipes_of(const TrainingSettings& settings) {
  std::map<std::string, std::string> values = recipe(settings.model.name, settings.images.dataset);
  values.merge(method_recipe(settings.method_name, settings.images.dataset));
  return values;
}

/// "resnet18, runs/teacher/best_model.safetensors, hash 0123456789abcdef"; "" where there is none.
std::string words_of(const Teacher& teacher) {
  if (teacher.model == nullptr) return {};
  return fmt::format("{}, {}, hash {}", teacher.name, teacher.path, teacher.weights.hash);
}

/// Throws Error for a method that cannot learn from mixed images.
void check_mixing(const TrainingSettings& settings) {
  require(
      !settings.step.mixing.on() || !settings.method->needs().one_label,
      "mixup, cutmix: method {} takes each image by its one label, and a mixed image has two: give --mixup "
      "0 --cutmix 0, or another method",
      settings.method_name);
}

/// Into how many slices each batch goes: --micro_batches, at least one for each process. Throws Error where
/// these cannot be shared out, and for what needs the whole of a batch at once.
std::int64_t slices_of(const TrainingSettings& settings, const Group& group) {
  const std::int64_t slices = std::max<std::int64_t>(settings.batches.micro_batches, group.size());
  require(slices % group.size() == 0, "micro_batches: {} slices cannot be shared out evenly to {} processes",
          slices, group.size());
  require(
      !settings.step.sync_batch_norm || slices == group.size(),
      "sync_batch_norm: the slices of a process pass one after the other, none knows the statistics of the "
      "next: give --micro_batches 1, or --sync_batch_norm 0");
  require(slices == 1 || !settings.step.mixing.on(),
          "mixup, cutmix: images are mixed with others of the whole batch, which is taken in {} slices: give "
          "--micro_batches 1 and one process, or --mixup 0 --cutmix 0",
          slices);
  require(slices == 1 || !settings.method->needs().relational,
          "method {} needs the whole of a batch, for its loss is no mean over images, and each batch is "
          "taken in {} "
          "slices: give --micro_batches 1 and one process, or another method",
          settings.method_name, slices);
  return slices;
}

std::string hash_of(const std::vector<const Module*>& modules) {
  Hash hash;
  for (const Module* module : modules)
    for (const auto& [name, tensor] : state_dict(*module)) {
      hash.add(name);
      const Tensor host = tensor.to(Device::cpu);
      hash.add({static_cast<const std::byte*>(host.raw()), host.bytes()});
    }
  return hash.hex();
}

/// The least that is left to any process of the group: all of them then come to one answer, and measure a
/// step together, whose batch norms may need the others.
MemoryLeft memory_left_to(Group& group) {
  constexpr std::int64_t mib = 1024 * 1024;
  MemoryLeft left = memory_left();
  const auto own = std::min<std::int64_t>(left.bytes / mib, std::numeric_limits<int>::max());
  left.bytes = -group.most(static_cast<int>(-own)) * mib;
  return left;
}

/// What the processes of a group must have alike.
Facts facts_of(const TrainingSettings& settings, const Options& options, const Inputs& inputs,
               std::int64_t first_step, const std::vector<const Module*>& modules) {
  Hash binary;
  binary.add(read_file("/proc/self/exe"));
  Facts facts = {{"the program's file", binary.hex()},
                 {"save_path", settings.run.save_path},
                 {"resume", settings.run.resume ? "1" : "0"},
                 {"max_steps", fmt::format("{}", settings.loop.max_steps)},
                 {"the device", settings.step.device == Device::cpu ? "cpu" : "cuda"}};
  for (const SettingValue& setting : options.settings()) {
    // These are each process's own.
    if (setting.key == "threads" || setting.key == "num_workers" || setting.key == "data_dir") continue;
    facts.emplace_back(setting.key, setting.json);
  }
  for (const auto& [what, hash] : inputs.hashes) facts.emplace_back(what, hash);
  facts.emplace_back("the first step", fmt::format("{}", first_step));
  facts.emplace_back("the weights", hash_of(modules));
  return facts;
}

int train_shown(TrainingSettings& settings, const Options& options, const TrainingStage& stage,
                std::span<const TrainingStage> stages, const BuildState& build, Display& display,
                Start& start, Group& group) {
  const RunFolder folder{settings.run.save_path};
  const Device device = set_up_device(settings.device, group, !settings.step.record);
  settings.step.device = device;
  settings.step.dtype = choose_dtype(settings.dtype.dtype, device);
  settings.step.batch_size = settings.batches.batch_size;
  settings.step.seed = static_cast<std::uint64_t>(settings.seed);
  settings.step.group = &group;
  settings.step.in_order = settings.device.deterministic;
  check_mixing(settings);
  const std::int64_t slices = slices_of(settings, group);
  std::optional<RunLock> lock;
  if (group.is_first()) {
    create_writable_folder(folder.path);
    lock.emplace(folder.path);
    remove_abandoned_files(folder.path);
  }
  // Whether a new run may begin there rank 0 alone looks, which makes the folder.
  std::optional<TrainingState> state;
  if (group.is_first() || settings.run.resume)
    state = saved_state(settings.run, options.settings(), settings.images.dataset);

  RunLog log(folder.log(), display, group.is_first());
  if (state && state->position.epoch >= settings.loop.num_epochs) {
    log.line(fmt::format("{} is complete: {}, {}; a larger --num_epochs goes on", settings.run.save_path,
                         counted(state->position.epoch, "epoch"), words_of_best(state->position)));
    return 0;
  }
  if (state && settings.loop.out_of_patience(state->position)) {
    log.line(fmt::format("{} stopped early after epoch {}, {}: {}; a larger --patience goes on",
                         settings.run.save_path, state->position.epoch, settings.loop.words_of_patience(),
                         words_of_best(state->position)));
    return 0;
  }

  const std::uint64_t seed = settings.step.seed;
  Data data = load_data(settings.images, settings.parts, seed, normalisation_so_far(state));
  data.info.crop_padding = crop_padding_of(settings.batches, data, state);
  const std::vector<std::string>& classes = data.train.classes;
  const ModelOptions model_options = generous::model_options(data.train, seed, device);
  check_batches(settings.batches, settings.model, model_options, data.train.size(), slices);
  const WeightFinder finder{folder.path, [&](const auto& run) { return program_of_run(stages, run); }};
  Method& method = *settings.method;
  WeightsOrigin origin{.model_name = settings.model.name,
                       .model_settings = settings.model.own_settings(),
                       .dataset = settings.images.dataset,
                       .classes = classes,
                       .image = image_shape(data.train),
                       .image_size = settings.images.image_size,
                       .normalisation = normalisation_of(data),
                       .program = stage.program,
                       .method = settings.method_name,
                       .teacher = settings.teacher.model.name};
  const Teacher teacher =
      settings.teacher.load(finder, stage, model_options, origin, method.needs().teacher_trains);
  std::vector<std::string> notes = {teacher.weights.note};
  std::unique_ptr<Network> model = settings.model.make(model_options);
  const bool begun = state && state->position.step > 0;
  if (!begun && !settings.init.empty()) {
    const FoundWeights found = finder.find("init", settings.init);
    notes.push_back(found.note);
    notes.push_back(load_weights(*model, read_weights(found.path), origin).note);
  }
  model =
      student_for(method, std::move(model), teacher.model.get(), model_options.image, settings.step, seed);
  origin.head = head_of(*model);
  connect({*model, teacher.model.get(), method},
          {.shape = image_shape(data.train),
           .labels = data.train.labels,
           .classes = static_cast<std::int64_t>(classes.size()),
           .for_each_batch = [&](const auto& use) { for_each_image(data, settings.batches, device, use); }},
          settings.step, seed);
  const std::unique_ptr<Optimizer> optimizer = settings.optimizer.make(parameters_of(*model, method));
  require(optimizer->losses() <= method.losses(),
          "optimizer: {} keeps the gradients of {} losses apart, method {} has {}; sgd takes their sum",
          settings.optimizer.optimizer, optimizer->losses(), settings.method_name, method.losses());
  const std::unique_ptr<WeightAverage> average = settings.optimizer.make_average(*model);
  settings.report.validation = data.validation.has_value();
  settings.report.average = average != nullptr;
  settings.report.configuration = options.to_json();
  settings.report.tested_images =
      (data.test.size() + (data.validation ? data.validation->size() : 0)) * (average != nullptr ? 2 : 1);
  LoaderOptions batches = settings.batches.loader_options(seed, device);
  batches.second_view = method.needs().views == 2;
  batches.unmade = true;  // a training step makes them, as its networks take them
  batches.slices = slices;
  batches.share = {.index = group.rank(), .of = group.size()};
  const Inputs inputs = inputs_of(data, teacher, slices);
  TrainingLoop loop({.loop = settings.loop,
                     .batches = batches,
                     .step = settings.step,
                     .learning_rates = settings.optimizer.learning_rates(settings.loop.num_epochs),
                     .data = data,
                     .group = group,
                     .student = *model,
                     .teacher = teacher,
                     .method = method,
                     .optimizer = *optimizer,
                     .average = average.get()},
                    {.folder = folder,
                     .origin = origin,
                     .config = options.to_json(),
                     .train_images = data.train.size(),
                     .inputs = inputs},
                    settings.report, log);
  if (state) {
    log.keep_earlier_lines();
    const std::vector<std::string> found = loop.restore(*state, folder.training_state());
    notes.insert(notes.end(), found.begin(), found.end());
  }
  if (const int cores = usable_cores(); device == Device::cpu && inputs.threads > cores)
    notes.push_back(fmt::format("{} on {}: more threads than cores make a run slower; give --threads {}",
                                counted(inputs.threads, "thread"), counted(cores, "core"), cores));
  notes.push_back(group.complaint());
  for (const std::string& change : changes_of_params(folder.params(), options.settings()))
    notes.push_back(fmt::format("{} changes: {}", folder.params().string(), change));

  start.agree([&] {
    return facts_of(settings, options, inputs, state ? state->position.step : 0, {model.get(), &method});
  });
  group.connect(device);
  start.check([&] {
    if (device == Device::cpu)
      check_memory({*model, teacher.model.get(), method}, model_options.image, settings.step,
                   {.batch_size = settings.batches.batch_size,
                    .images = data.train.size(),
                    .slices = slices,
                    .processes = group.size(),
                    .may_slice = !settings.step.mixing.on() && !method.needs().relational},
                   memory_left_to(group));
    notes.push_back(loop.examine_teacher());
  });
  // Everything is valid: from here on the folder changes.
  write_record(log, {.build = build,
                     .options = options,
                     .group = group,
                     .device = backend(device).description(),
                     .method = settings.method_name,
                     .recipe = recipes_of(settings),
                     .teacher = words_of(teacher),
                     .resumed = state.has_value()});
  describe(log, stage.program, settings, data, *model);
  if (lock && !lock->holds())
    log.line(fmt::format("note: no locks on the file system of {}: start no second program in it",
                         settings.run.save_path));
  for (const SettingValue& setting : options.settings())
    if (setting.unused) log.line(fmt::format("note: {} is accepted, and without effect", setting.key));
  if (settings.parts.whole_by_paper)
    notes.push_back(
        fmt::format("{}: subset_percent 1.0 is a fraction, as in the paper's files, and means all images; "
                    "one percent is --subset_percent 1",
                    folder.params().string()));
  for (const std::string& key : options.ignored())
    notes.push_back(fmt::format("{}: {} is without effect here", folder.params().string(), key));
  for (const std::string& note : notes)
    if (!note.empty()) log.line(fmt::format("note: {}", note));
  if (settings.report.paper_metrics && settings.images.dataset == "tiny_imagenet" &&
      !settings.batches.augmentation)
    log.line(
        "note: the paper's program augments the training images of Tiny-ImageNet even with augmentation 0, "
        "this one does not");
  if (state)
    log.line(fmt::format("resumed in epoch {} after step {} of the run", state->position.epoch + 1,
                         state->position.step));
  if (group.is_first()) write_file_atomically(folder.params(), options.to_json());
  if (!state) loop.save_start();
  return loop.run();
}

int train_in(Group& group, Options& options, const TrainingStage& stage,
             std::span<const TrainingStage> stages, const BuildState& build, Start& start) {
  TrainingSettings settings;
  settings.declare(options, stage);
  tell_stages_apart(options, stage, stages);
  if (!settings.list.list.empty()) {
    options.check_names();
    if (group.is_first()) print_lines(settings.list.text(settings.images.dataset));
    return 0;
  }
  if (options.asks_for_help() && !group.is_first()) return 0;
  if (!options.finish()) return 0;
  const PoliteWaiting waiting;
  Display display(group.is_first());
  const int code = train_shown(settings, options, stage, stages, build, display, start, group);
  const std::string lost = display.finish();
  if (lost.empty()) return code;
  const std::string message = fmt::format("standard output did not take every line ({}); {} has them all",
                                          lost, RunFolder{settings.run.save_path}.log().string());
  if (code == 0) throw Error(message);
  print_error(fmt::format("{}: {}", stage.program, message));
  return code;
}

}  // namespace

int train(Options& options, const TrainingStage& stage, std::span<const TrainingStage> stages,
          const BuildState& build) {
  const std::unique_ptr<Group> group = join_group();
  return run_together(*group, stage.program,
                      [&](Start& start) { return train_in(*group, options, stage, stages, build, start); });
}

}  // namespace generous
