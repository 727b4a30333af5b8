#include "apps/training/config.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "apps/training/config_keys.h"
#include "core/console.h"
#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "core/nearest.h"
#include "core/printable.h"

namespace generous {

namespace {

using nlohmann::json;

/// A key's value as it was given, with the words that name where.
struct Given {
  const Key* key;
  json value;         ///< a flag's value: text
  std::string where;  ///< "--seed" or "DIR/params.json: seed"
  bool flag;
};

[[noreturn]] void reject(const Given& given, const std::string& hint = "") {
  const std::string found =
      given.flag ? fmt::format("'{}'", given.value.get<std::string>()) : json_excerpt(given.value);
  const std::string message =
      fmt::format("{} must be {}, not {}{}", given.where, expected_value(*given.key), found, hint);
  if (given.flag) throw UsageError(message);
  throw Error(message);
}

/// The number that the whole text spells in decimal, or nothing: no spaces, no sign +, no leading zeros
/// (which some read as octal), no inf or nan, nothing out of the type's range.
template <class T>
std::optional<T> parse(std::string_view text) {
  const std::string_view digits = text.substr(text.starts_with('-') ? 1 : 0);
  if (digits.size() > 1 && digits[0] == '0' && digits[1] >= '0' && digits[1] <= '9') return {};
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return {};
  if constexpr (std::is_floating_point_v<T>)
    if (!std::isfinite(value)) return {};
  return value;
}

// One reader per type: from a flag's text or a JSON value to the member's type.

std::int64_t read_integer(const Given& given, const json& value) {
  std::optional<std::int64_t> number;
  if (given.flag) number = parse<std::int64_t>(value.get<std::string>());
  // An unsigned value beyond int64 would wrap: it is out of every range anyway.
  else if (value.is_number_integer() &&
           (!value.is_number_unsigned() || value.get<std::uint64_t>() < (1ULL << 63)))
    number = value.get<std::int64_t>();
  if (!number || static_cast<double>(*number) < given.key->min ||
      static_cast<double>(*number) > given.key->max)
    reject(given);
  return *number;
}

void read(const Given& given, std::int64_t& out) { out = read_integer(given, given.value); }

void read(const Given& given, double& out) {
  std::optional<double> number;
  if (given.flag)
    number = parse<double>(given.value.get<std::string>());
  else if (given.value.is_number())
    number = given.value.get<double>();
  if (!number || !(*number >= given.key->min && *number <= given.key->max)) reject(given);
  out = *number;
}

void read(const Given& given, bool& out) {
  const std::string text = given.flag ? given.value.get<std::string>() : given.value.dump();
  out = text == "1" || text == "true";
  if (!out && text != "0" && text != "false") reject(given);
}

void check_choice(const Given& given, const std::string& value) {
  const auto& choices = given.key->choices;
  if (!choices.empty() && std::find(choices.begin(), choices.end(), value) == choices.end())
    reject(given, fmt::format(" (did you mean '{}'?)", nearest(value, choices)));
}

/// What stands between the commas.
std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t comma = std::min(text.find(',', begin), text.size());
    parts.push_back(text.substr(begin, comma - begin));
    begin = comma + 1;
  }
  return parts;
}

void read(const Given& given, std::string& out) {
  if (!given.value.is_string()) reject(given);
  out = given.value.get<std::string>();
  check_choice(given, out);
}

/// Flags only: no file has such a list.
void read(const Given& given, std::vector<std::string>& out) {
  if (!given.value.is_string()) reject(given);
  out = split(given.value.get<std::string>());
  for (const std::string& value : out) check_choice(given, value);
}

void read(const Given& given, std::vector<std::int64_t>& out) {
  out.clear();
  if (given.flag) {
    for (const std::string& part : split(given.value.get<std::string>()))
      out.push_back(read_integer(given, part));
  } else {
    if (!given.value.is_array()) reject(given);
    for (const json& item : given.value) out.push_back(read_integer(given, item));
  }
  if (std::set(out.begin(), out.end()).size() != out.size()) reject(given);
}

/// A training program writes its settings into JSON, which is UTF-8.
void check_writable(Program program, const std::vector<Given>& values) {
  if (find_key(program, "save_path") == nullptr) return;
  for (const Given& given : values)
    if (given.flag && given.key->role != KeyRole::call && !is_utf8(given.value.get<std::string>()))
      throw UsageError(
          fmt::format("{} must be in UTF-8, not '{}'", given.where, given.value.get<std::string>()));
}

void set_values(Config& config, const std::vector<Given>& values) {
  for (const Given& given : values) {
    std::visit([&](auto member) { read(given, config.*member); }, given.key->member);
    config.given.emplace(given.key->name);
  }
}

/// "unknown flag --sead; did you mean --seed?", or for which programs it is.
std::string unknown(Program program, std::string_view name, bool flag) {
  const std::string_view dashes = flag ? "--" : "";
  const std::string_view kind = flag ? "flag" : "key";
  std::vector<std::string> names;
  std::vector<std::string> owners;
  for (const Key& key : all_keys()) {
    if (!flag && key.role == KeyRole::call) continue;
    if (key.is_for(program)) names.emplace_back(key.name);
    if (key.name != name) continue;
    for (const Program other :
         {Program::train_standard, Program::train_generous, Program::train_kd, Program::evaluate,
          Program::predict, Program::loader_benchmark, Program::benchmark})
      if (key.is_for(other)) owners.push_back(name_of(other));
  }
  if (!owners.empty())
    return fmt::format("{} {}{} is not one of {}, but of {}", kind, dashes, name, name_of(program),
                       fmt::join(owners, ", "));
  return fmt::format("unknown {} {}{}; did you mean {}{}?", kind, dashes, name, dashes, nearest(name, names));
}

/// The values in the text of a params.json, which `source` names.
std::vector<Given> values_of_params(Program program, std::string_view text, const std::string& source) {
  const json object = parse_json_strictly(text, source);
  require(object.is_object(), "{}: expected a JSON object such as {{\"model_name\": \"resnet18\"}}, found {}",
          source, json_excerpt(object));
  std::vector<Given> values;
  for (const auto& [name, value] : object.items()) {
    const Key* key = find_key(program, name);
    if (key == nullptr || key->role == KeyRole::call) fail("{}: {}", source, unknown(program, name, false));
    values.push_back({key, value, fmt::format("{}: {}", source, name), false});
  }
  return values;
}

std::vector<Given> read_params(Program program, const std::filesystem::path& path) {
  if (!file_exists(path)) return {};
  return values_of_params(program, read_file(path, std::size_t{1} << 20), path.string());
}

/// The flags that were given, or nothing if help was asked for and printed.
std::optional<std::vector<Given>> read_flags(Program program, std::vector<std::string> arguments) {
  CLI::App app("", name_of(program));
  app.allow_extras();  // so that the message can name the nearest flag
  std::vector<std::pair<const Key*, CLI::Option*>> options;
  for (const Key& key : all_keys()) {
    if (!key.is_for(program)) continue;
    const std::string flag = fmt::format("--{}", key.name);
    CLI::Option* option = key.name == "resume" ? app.add_flag(flag) : app.add_option(flag);
    option->description(fmt::format("{} ({})", key.help, expected_value(key)));
    options.emplace_back(&key, option);
  }
  std::reverse(arguments.begin(), arguments.end());  // CLI11 takes them from the back
  try {
    app.parse(std::move(arguments));
  } catch (const CLI::CallForHelp&) {
    print_lines(app.help());
    return std::nullopt;
  } catch (const CLI::ParseError& error) {
    throw UsageError(error.what());
  }
  if (const std::vector<std::string> extras = app.remaining(); !extras.empty()) {
    const std::string& extra = extras.front();
    if (!extra.starts_with("--"))
      throw UsageError(fmt::format("'{}' belongs to no flag; flags are written --name value", extra));
    throw UsageError(unknown(program, extra.substr(2, extra.find('=') - 2), true));
  }
  std::vector<Given> values;
  for (const auto& [key, option] : options) {
    if (option->count() == 0) continue;
    values.push_back({key, option->results().back(), fmt::format("--{}", key->name), true});
  }
  return values;
}

void check_required(const Config& config) {
  for (const Key& key : all_keys()) {
    if (!key.is_for(config.program) || !key.required) continue;
    const auto* text = std::get_if<std::string Config::*>(&key.member);
    if (config.given.contains(key.name) && (text == nullptr || !(config.*(*text)).empty())) continue;
    const bool in_file = !config.save_path.empty() && key.role != KeyRole::call;
    throw UsageError(
        fmt::format("{} is missing: give --{}{}", key.name, key.name,
                    in_file ? fmt::format(" or put it in {}", params_path(config).string()) : ""));
  }
}

/// The defaults of the model and the dataset that `values` ask for, and over them `values`.
Config configure(Program program, const std::vector<Given>& values) {
  Config asked;
  asked.program = program;
  set_values(asked, values);
  Config config = default_config(program, asked.model_name, asked.dataset);
  set_values(config, values);
  return config;
}

json to_json_value(const Config& config, const Key& key) {
  return std::visit(
      [&](auto member) {
        if constexpr (std::is_same_v<decltype(member), bool Config::*>)
          return json(config.*member ? 1 : 0);
        else
          return json(config.*member);
      },
      key.member);
}

}  // namespace

std::optional<Config> read_configuration(Program program, const std::vector<std::string>& arguments) {
  const auto flags = read_flags(program, arguments);
  if (!flags) return std::nullopt;

  const Config asked = configure(program, *flags);
  std::vector<Given> values;
  if (!asked.save_path.empty()) values = read_params(program, params_path(asked));
  values.insert(values.end(), flags->begin(), flags->end());
  Config config = configure(program, values);
  check_writable(program, values);
  check_required(config);
  return config;
}

Config parse_params(Program program, std::string_view text, const std::string& source) {
  return configure(program, values_of_params(program, text, source));
}

std::vector<Setting> settings(const Config& config) {
  std::vector<Setting> all;
  for (const Key& key : all_keys()) {
    if (!key.is_for(config.program) || key.role == KeyRole::call) continue;
    if (key.role == KeyRole::unused && !config.given.contains(key.name)) continue;
    const json value = to_json_value(config, key);
    all.push_back({.key = std::string(key.name),
                   .json = value.dump(),
                   .may_change = key.role != KeyRole::setting,
                   .unused = key.role == KeyRole::unused,
                   .left_out = key.left_out && value == to_json_value(Config{}, key)});
  }
  return all;
}

std::string to_json(const Config& config) {
  std::vector<std::string> lines;
  for (const Setting& setting : settings(config))
    if (!setting.left_out) lines.push_back(fmt::format("    \"{}\": {}", setting.key, setting.json));
  return fmt::format("{{\n{}\n}}\n", fmt::join(lines, ",\n"));
}

std::filesystem::path params_path(const Config& config) {
  return std::filesystem::path(config.save_path) / "params.json";
}

}  // namespace generous
