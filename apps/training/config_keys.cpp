#include "apps/training/config_keys.h"

#include <fmt/format.h>

#include "apps/benchmark/workload.h"
#include "apps/training/evaluation.h"
#include "apps/training/objective.h"
#include "data/dataset.h"
#include "data/loader.h"

namespace generous {

namespace {

constexpr unsigned bit(Program program) { return 1U << static_cast<unsigned>(program); }

constexpr unsigned standard_stage = bit(Program::train_standard);
constexpr unsigned generous_stage = bit(Program::train_generous);
constexpr unsigned student_stage = bit(Program::train_kd);
constexpr unsigned training = standard_stage | generous_stage | student_stage;
constexpr unsigned evaluation = bit(Program::evaluate);
constexpr unsigned prediction = bit(Program::predict);
constexpr unsigned tools = evaluation | prediction;
constexpr unsigned loading = bit(Program::loader_benchmark);
constexpr unsigned benchmarking = bit(Program::benchmark);

constexpr double most = 1e6;                    // far from any overflow
constexpr double most_seed = 9007199254740991;  // 2^53 - 1: exact in every JSON reader

Key between(double min, double max, Key key) {
  key.min = min;
  key.max = max;
  return key;
}

Key one_of(std::vector<std::string> choices, Key key) {
  key.choices = std::move(choices);
  return key;
}

Key required(Key key) {
  key.required = true;
  return key;
}

Key left_out(Key key) {
  key.left_out = true;
  return key;
}

std::vector<Key> make_keys() {
  using enum KeyRole;
  using C = Config;
  return {
      required(
          {"save_path", training, call, &C::save_path, "the run's folder; its params.json is read if there"}),
      {"resume", training, call, &C::resume, "go on where the run in --save_path stopped"},
      between(0, 1e12,
              {"max_steps", training, call, &C::max_steps, "stop after so many steps in all; 0: no limit"}),

      required({"model_name", training | tools, setting, &C::model_name, "the network"}),
      between(1, 4096,
              {"num_channels", training | tools, setting, &C::num_channels,
               "net only: channels of its first layer"}),
      between(0, 0.999,
              {"dropout_rate", training, setting, &C::dropout_rate, "net only: probability of a zero"}),
      between(0, most, {"learning_rate", training, setting, &C::learning_rate, "initial learning rate"}),
      between(0, most,
              {"schedule", training, setting, &C::schedule,
               "epochs at which the learning rate is multiplied by gamma, such as 80,120"}),
      between(0, 1, {"gamma", training, setting, &C::gamma, "factor of the learning rate at those epochs"}),
      between(1, 65536, {"batch_size", training, setting, &C::batch_size, "images per step"}),
      between(1, 65536, {"batch_size", evaluation | loading, setting, &C::batch_size, "images at a time"}),
      between(1, max_epochs,
              {"num_epochs", training, flexible, &C::num_epochs, "passes over the training images"}),
      between(0, max_loader_workers,
              {"num_workers", training | evaluation | loading, flexible, &C::num_workers,
               "threads that prepare batches ahead"}),
      {"augmentation", training, setting, &C::augmentation,
       "crop, flip or rotate the training images at random"},
      {"cuda", training, unused, &C::cuda, "without effect: see --device"},
      required(one_of(dataset_names(),
                      {"dataset", training | evaluation | loading, setting, &C::dataset, "the images"})),

      required({"adversarial_model", generous_stage, setting, &C::adversarial_model,
                "the standard teacher's network"}),
      required({"adversarial_resume", generous_stage, setting, &C::adversarial_resume,
                "the standard teacher's weights"}),
      between(
          0.001, 1000,
          {"Tn", generous_stage, setting, &C::tn, "temperature in units of the logits' standard deviation"}),
      between(0, 1000, {"alpha", generous_stage, setting, &C::alpha, "weight of the non-target knowledge"}),
      between(0, most,
              {"warmup", generous_stage, setting, &C::warmup, "epochs in which that weight grows to alpha"}),
      between(0, most,
              {"temperature", generous_stage, unused, &C::temperature, "without effect on this stage"}),
      between(0, most, {"weight", generous_stage, unused, &C::weight, "without effect on this stage"}),

      one_of(distillation_methods(),
             {"method", student_stage, setting, &C::method, "the distillation method"}),
      required({"teacher_model", student_stage, setting, &C::teacher_model, "the teacher's network"}),
      required({"teacher_resume", student_stage, setting, &C::teacher_resume, "the teacher's weights"}),
      between(0.001, 1000,
              {"temperature", student_stage, setting, &C::temperature,
               "temperature of both networks' probabilities"}),
      between(0, 1,
              {"alpha", student_stage, setting, &C::alpha,
               "weight of the distillation term; cross-entropy has the rest"}),

      one_of({"sgd", "adam"}, {"optimizer", training, setting, &C::optimizer, "the optimiser"}),
      between(0, 0.999999, {"momentum", training, setting, &C::momentum, "sgd only"}),
      between(0, 1000,
              {"weight_decay", training, setting, &C::weight_decay,
               "this times the parameter is added to its gradient"}),
      {"nesterov", training, setting, &C::nesterov, "sgd only"},
      {"shuffle", training, setting, &C::shuffle, "a new order of the training images in every epoch"},
      left_out({"drop_last", training, setting, &C::drop_last,
                "leave an epoch's last batch out where it is smaller than the others"}),
      between(0, most_seed,
              {"seed", training, setting, &C::seed,
               "of the initial weights, the order, the augmentation and dropout"}),
      {"init", training, flexible, &C::init, "weights to start from (.safetensors)"},

      {"data_dir", training | evaluation | loading, flexible, &C::data_dir, "the dataset's folder"},
      required({"weights", tools, setting, &C::weights, "the network's weights (.safetensors)"}),
      one_of({"test", "train"}, {"split", evaluation, setting, &C::split, "which images"}),
      required(between(2, most, {"classes", prediction, setting, &C::classes, "how many classes there are"})),
      required({"input", prediction, setting, &C::input,
                "file with the tensor `input`: f32 {N, C, H, W}, normalised (.safetensors)"}),
      required({"output", prediction, setting, &C::output,
                "file for the tensor `logits` {N, classes} (.safetensors)"}),
      one_of({"auto", "cpu", "cuda"},
             {"device", training | tools | benchmarking, flexible, &C::device, "where to compute"}),
      {"winograd", training | tools | benchmarking, setting, &C::winograd,
       "cpu: fast convolutions with a rounding error some times larger; 0: direct ones alone"},
      {"tune", training | tools | benchmarking, setting, &C::tune,
       "measure which convolution is faster: other bits in every run"},
      {"deterministic", training | tools | benchmarking, setting, &C::deterministic,
       "cuda: only algorithms that give the same bits in every run (the CPU's always do)"},
      {"tf32", training | tools | benchmarking, setting, &C::tf32,
       "cuda: f32 products and convolutions with factors of 10 mantissa bits, much faster"},
      {"record", training | benchmarking, flexible, &C::record,
       "cuda: record a training step once and replay it; 0: an error in a kernel names the op"},
      one_of({"f32", "bf16"}, {"dtype", training | tools, setting, &C::dtype,
                               "of activations and their gradients; all else is f32"}),
      between(0, 1024,
              {"threads", training | tools | benchmarking, flexible, &C::threads,
               "threads that compute; 0: all cores"}),
      between(0.1, 3600, {"seconds", loading, setting, &C::seconds, "how long to measure"}),
      {"models", benchmarking, setting, &C::models, "networks, such as resnet18,preresnet20"},
      one_of(stage_names(), {"stages", benchmarking, setting, &C::stages, "what to measure"}),
      one_of({"f32", "bf16"}, {"dtypes", benchmarking, setting, &C::dtypes, "types to compute in"}),
      between(1, 65536, {"batch", benchmarking, setting, &C::batch_size, "images per step"}),
      between(1, most, {"steps", benchmarking, setting, &C::steps, "steps to take the median of"}),
      {"limit", benchmarking, setting, &C::limit, "also time the convolutions alone"},
      {"profile", benchmarking, setting, &C::profile,
       "also print the time of every kernel, and write a trace (MODEL_STAGE_DTYPE.trace.json)"},
      {"json", loading | benchmarking, setting, &C::json, "print one line of JSON a measurement"},
      between(0, most,
              {"log_steps", training, flexible, &C::log_steps,
               "a row in steps.csv every so many steps; 0: none"}),
      left_out({"paper_metrics", training | evaluation, setting, &C::paper_metrics,
                "also measure as the paper's program does: mean over batches, the latest best epoch"}),
  };
}

}  // namespace

std::string name_of(Program program) {
  switch (program) {
    case Program::train_standard:
      return "train_standard";
    case Program::train_generous:
      return "train_generous";
    case Program::train_kd:
      return "train_kd";
    case Program::evaluate:
      return "evaluate";
    case Program::predict:
      return "predict";
    case Program::loader_benchmark:
      return "loader_benchmark";
    case Program::benchmark:
      return "benchmark";
  }
  return "?";
}

const std::vector<Key>& all_keys() {
  static const std::vector<Key> keys = make_keys();
  return keys;
}

const Key* find_key(Program program, std::string_view name) {
  for (const Key& key : all_keys())
    if (key.name == name && key.is_for(program)) return &key;
  return nullptr;
}

std::string expected_value(const Key& key) {
  const bool is_list = std::holds_alternative<std::vector<std::string> Config::*>(key.member);
  if (!key.choices.empty())
    return fmt::format("{} {}", is_list ? "some, with commas between, of" : "one of",
                       fmt::join(key.choices, ", "));
  if (std::holds_alternative<std::string Config::*>(key.member)) return "text";
  if (std::holds_alternative<bool Config::*>(key.member)) return "0 or 1";
  if (std::holds_alternative<double Config::*>(key.member))
    return fmt::format("a number from {} to {}", key.min, key.max);
  if (is_list) return "names with commas between";
  const auto min = static_cast<std::int64_t>(key.min);
  const auto max = static_cast<std::int64_t>(key.max);
  if (std::holds_alternative<std::int64_t Config::*>(key.member))
    return fmt::format("an integer from {} to {}", min, max);
  return fmt::format("a list of integers from {} to {}, each once", min, max);
}

Config default_config(Program program, const std::string& model_name, const std::string& dataset) {
  Config config;
  config.program = program;
  const bool many_classes = dataset == "cifar100" || dataset == "tiny_imagenet";
  if (model_name == "net" || model_name == "mlp") {  // the small networks: Adam at a constant rate
    config.optimizer = "adam";
    config.learning_rate = 1e-3;
    config.weight_decay = 0.0;
    config.schedule = {999};
    config.num_epochs = 100;
  } else if (many_classes) {
    config.schedule = {60, 120, 160};
    config.gamma = 0.2;
    config.num_epochs = 200;
  } else {
    config.schedule = {80, 120};
    config.num_epochs = 160;
  }
  if (program == Program::evaluate) config.batch_size = evaluation_batch;
  if (program == Program::train_kd) config.alpha = 0.9;
  if (program == Program::train_kd) config.temperature = many_classes ? 20.0 : 4.0;
  return config;
}

}  // namespace generous
