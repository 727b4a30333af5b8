#include "core/options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/console.h"
#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "core/nearest.h"
#include "core/printable.h"

namespace generous {

namespace {

constexpr std::size_t largest_params = std::size_t{1} << 20;

/// The found entry of a map under either of a setting's names, or the end.
template <class Map>
auto find_either(const Map& map, const std::string& name, const std::string& alias) {
  const auto found = map.find(name);
  return found != map.end() || alias.empty() ? found : map.find(alias);
}

}  // namespace

Options::Options(std::string program, const std::vector<std::string>& arguments)
    : program_(std::move(program)) {
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (argument == "--help" || argument == "-h") {
      help_ = true;
      continue;
    }
    if (!argument.starts_with("--"))
      throw UsageError(fmt::format("'{}' belongs to no flag; flags are written --name value", argument));
    const std::size_t equals = argument.find('=');
    const std::string name = argument.substr(2, equals == std::string::npos ? equals : equals - 2);
    std::optional<std::string> value;
    if (equals != std::string::npos)
      value = argument.substr(equals + 1);
    else if (i + 1 < arguments.size() && !arguments[i + 1].starts_with("--"))
      value = arguments[++i];
    if (!flags_.emplace(name, std::move(value)).second)
      throw UsageError(fmt::format("--{} is given twice", name));
  }
}

void Options::params(const std::filesystem::path& file) {
  source_ = file.string();
  if (file_exists(file)) params(read_file(file, largest_params), file.string());
}

void Options::params(std::string_view text, std::string source) {
  const nlohmann::json object = parse_json_strictly(text, source);
  require(object.is_object(), "{}: expected a JSON object such as {{\"model_name\": \"resnet18\"}}, found {}",
          source, json_excerpt(object));
  for (const auto& [name, value] : object.items()) params_[name] = value.dump();
  source_ = std::move(source);
}

void Options::defaults(const std::map<std::string, std::string>& values) {
  defaults_.insert(values.begin(), values.end());
}

void Options::prefix(std::string prefix, std::vector<std::string> left_out) {
  prefix_ = std::move(prefix);
  left_out_ = std::move(left_out);
}

void Options::declare(std::string name, Target target, About about) {
  if (std::ranges::find(left_out_, name) != left_out_.end()) return;
  if (!prefix_.empty()) {
    name = fmt::format("{}.{}", prefix_, name);
    if (!about.alias.empty()) about.alias = fmt::format("{}.{}", prefix_, about.alias);
  }
  if (const auto found = defaults_.find(name); found != defaults_.end())
    read_value(target, about, {FoundValue::Origin::recipe, found->second, name});
  Declared setting{std::move(name), group_, target, std::move(about), {}, {}};
  setting.json_default = generous::to_json(target);
  setting.text_default = to_text(target);
  setting.given = read_given(setting);
  if (find(setting.name) == nullptr) declared_.push_back(std::move(setting));
}

/// Reads what the file and the flags have for a setting; false if they have nothing.
bool Options::read_given(const Declared& setting) const {
  const About& about = setting.about;
  const bool in_params = source_ && about.role != Role::call;
  const auto in_file = find_either(params_, setting.name, about.alias);
  const bool from_file = in_params && in_file != params_.end();
  if (from_file) {
    if (in_file->first == setting.name && !about.alias.empty() && params_.contains(about.alias))
      fail("{}: {} and {} are the same setting: leave one out", *source_, setting.name, about.alias);
    read_value(setting.target, about,
               {FoundValue::Origin::file, in_file->second, fmt::format("{}: {}", *source_, in_file->first)});
  }
  const auto flag = find_either(flags_, setting.name, about.alias);
  if (flag == flags_.end()) return from_file;
  const std::string where = fmt::format("--{}", flag->first);
  if (flag->first == setting.name && !about.alias.empty() && flags_.contains(about.alias))
    throw UsageError(fmt::format("{} and --{} are the same flag: leave one out", where, about.alias));
  const bool is_switch = std::holds_alternative<bool*>(setting.target);
  if (!flag->second && !is_switch)
    throw UsageError(fmt::format("{} needs a value: {}", where, expected_value(setting.target, about)));
  const std::string text = flag->second.value_or("1");
  read_value(setting.target, about, {FoundValue::Origin::flag, text, where});
  if (in_params && !is_utf8(text))  // which JSON is
    throw UsageError(fmt::format("{} must be in UTF-8, not '{}'", where, text));
  return true;
}

void Options::belongs_to(const std::string& owner, const Options& other) {
  for (const Declared& setting : other.declared_) foreign_.emplace_back(setting.name, owner);
}

const Options::Declared* Options::find(std::string_view name) const {
  for (const Declared& setting : declared_)
    if (setting.name == name || (!name.empty() && setting.about.alias == name)) return &setting;
  return nullptr;
}

bool Options::given(std::string_view name) const {
  const Declared* setting = find(name);
  return setting != nullptr && setting->given;
}

/// "unknown flag --sead; did you mean --seed?", or whose it is.
std::string Options::unknown(std::string_view name, bool flag) const {
  const std::string_view dashes = flag ? "--" : "";
  const std::string_view kind = flag ? "flag" : "key";
  std::vector<std::string> owners;
  for (const auto& [foreign, owner] : foreign_)
    if (foreign == name && std::ranges::find(owners, owner) == owners.end()) owners.push_back(owner);
  if (!owners.empty())
    return fmt::format("{} {}{} is not one of {}, but of {}", kind, dashes, name, program_,
                       fmt::join(owners, ", "));
  std::vector<std::string> names;
  for (const Declared& setting : declared_)
    if (flag || setting.about.role != Role::call) names.push_back(setting.name);
  return fmt::format("unknown {} {}{}; did you mean {}{}?", kind, dashes, name, dashes, nearest(name, names));
}

void Options::check_names() const {
  for (const auto& [name, value] : flags_)
    if (find(name) == nullptr) throw UsageError(unknown(name, true));
  for (const auto& [name, value] : params_)
    if (const Declared* setting = find(name); setting == nullptr || setting->about.role == Role::call)
      fail("{}: {}", *source_, unknown(name, false));
}

void Options::check_required() const {
  for (const Declared& setting : declared_) {
    if (!setting.about.required) continue;
    const auto* text = std::get_if<std::string*>(&setting.target);
    if (setting.given && (text == nullptr || !(*text)->empty())) continue;
    const bool in_file = source_ && setting.about.role != Role::call;
    throw UsageError(fmt::format("{} is missing: give --{}{}", setting.name, setting.name,
                                 in_file ? fmt::format(" or put it in {}", *source_) : ""));
  }
}

bool Options::finish() const {
  if (help_) {
    print_lines(help());
    return false;
  }
  check_names();
  check_required();
  return true;
}

std::string Options::help() const {
  std::vector<std::string> groups;
  std::size_t width = 0;
  for (const Declared& setting : declared_) {
    if (std::ranges::find(groups, setting.group) == groups.end()) groups.push_back(setting.group);
    width = std::max(width, setting.name.size());
  }
  std::string text = fmt::format("Usage: {} --NAME VALUE ...\n", program_);
  for (const std::string& group : groups) {
    text += fmt::format("\n{}\n", group);
    for (const Declared& setting : declared_) {
      const About& about = setting.about;
      if (setting.group != group || about.role == Role::unused) continue;
      const std::string value = about.required                 ? "required"
                                : setting.text_default.empty() ? "default: none"
                                                               : "default: " + setting.text_default;
      text += fmt::format("  --{:<{}}  {} ({}; {})\n", setting.name, width, about.help,
                          expected_value(setting.target, about), value);
    }
  }
  return text;
}

std::vector<SettingValue> Options::settings() const {
  std::vector<SettingValue> all;
  for (const Declared& setting : declared_) {
    const Role role = setting.about.role;
    if (role == Role::call || (role == Role::unused && !setting.given)) continue;
    const std::string json = generous::to_json(setting.target);
    all.push_back({.key = setting.name,
                   .json = json,
                   .json_default = setting.json_default,
                   .may_change = role != Role::setting,
                   .unused = role == Role::unused,
                   .left_out = setting.about.left_out && json == setting.json_default});
  }
  return all;
}

std::string Options::to_json() const {
  std::vector<std::string> lines;
  for (const SettingValue& setting : settings())
    if (!setting.left_out) lines.push_back(fmt::format("    \"{}\": {}", setting.key, setting.json));
  return fmt::format("{{\n{}\n}}\n", fmt::join(lines, ",\n"));
}

}  // namespace generous
