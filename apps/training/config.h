// The configuration of a program: defaults, overridden by the run folder's params.json, overridden by flags.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace generous {

enum class Program : std::uint8_t {
  train_standard,
  train_generous,
  train_kd,
  evaluate,
  predict,
  loader_benchmark,
  benchmark
};

/// "train_standard", "train_generous", ...
std::string name_of(Program program);

/// The largest --num_epochs.
inline constexpr std::int64_t max_epochs = 1'000'000;

/// Every setting of every program; a program uses those that config_keys.cpp lists for it. What a setting
/// means and which values it takes is written there.
struct Config {
  Program program = Program::train_standard;

  std::string save_path;
  bool resume = false;
  std::int64_t max_steps = 0;

  std::string model_name;
  std::int64_t num_channels = 32;
  double dropout_rate = 0.0;
  double learning_rate = 0.1;
  std::vector<std::int64_t> schedule;
  double gamma = 0.1;
  std::int64_t batch_size = 128;
  std::int64_t num_epochs = 160;
  std::int64_t num_workers = 4;
  bool augmentation = true;
  bool cuda = true;
  std::string dataset;

  std::string adversarial_model;
  std::string adversarial_resume;
  double tn = 1.0;
  std::int64_t warmup = 20;
  double weight = 0.0;

  std::string method = "kd";
  std::string teacher_model;
  std::string teacher_resume;
  double temperature = 4.0;
  double alpha = 1.0;

  std::string optimizer = "sgd";
  double momentum = 0.9;
  double weight_decay = 5e-4;
  bool nesterov = false;
  bool shuffle = true;
  bool drop_last = false;
  std::int64_t seed = 0;
  std::string init;
  std::string data_dir;
  std::string device = "auto";
  std::string dtype = "f32";
  bool winograd = true;
  bool tune = false;
  bool deterministic = false;
  bool tf32 = false;
  bool record = true;
  std::int64_t threads = 0;
  std::int64_t log_steps = 0;
  bool paper_metrics = false;

  std::string weights;
  std::string split = "test";
  std::int64_t classes = 0;
  std::string input;
  std::string output;

  double seconds = 5.0;
  bool json = false;
  std::vector<std::string> models = {"preresnet20"};
  std::vector<std::string> stages = {"standard"};
  std::vector<std::string> dtypes = {"f32"};
  std::int64_t steps = 10;
  bool limit = false;
  bool profile = false;

  std::set<std::string, std::less<>> given;  ///< the keys that the file or the flags set
};

/// The configuration that the arguments (without the program's name) ask for; training programs read
/// `save_path`/params.json first if it is there. Nothing if --help was asked for and printed. Throws
/// UsageError for a wrong flag, value or a missing one, Error for what is wrong in the file; both name the
/// key, what was found and what would be right.
std::optional<Config> read_configuration(Program program, const std::vector<std::string>& arguments);

/// The configuration that the text of a params.json asks for by itself, without flags; required keys may be
/// missing. `source` names it in messages. Throws Error like read_configuration.
Config parse_params(Program program, std::string_view text, const std::string& source);

/// One key of a configuration and its value as JSON.
struct Setting {
  std::string key;
  std::string json;
  bool may_change = false;  ///< a resumed run may have another value
  bool unused = false;      ///< without effect
  bool left_out = false;    ///< of params.json
};

/// What decides a run, in the order of params.json: every key of the program except those of one call alone
/// (save_path, resume, max_steps), and unused keys only where they were given.
std::vector<Setting> settings(const Config& config);

/// `settings` as the text of a params.json, without those that are left out.
std::string to_json(const Config& config);

/// DIR/params.json.
std::filesystem::path params_path(const Config& config);

}  // namespace generous
