#include "core/options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
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

std::string in_capitals(std::string name) {
  std::ranges::transform(name, name.begin(),
                         [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return name;
}

UsageError no_flag(const std::string& word) {
  return UsageError(fmt::format("'{}' belongs to no flag; flags are written --name value", word));
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
    if (!argument.starts_with("--")) {
      if (argument.starts_with('-')) throw no_flag(argument);
      words_.push_back(argument);
      continue;
    }
    const std::size_t equals = argument.find('=');
    std::string name = argument.substr(2, equals == std::string::npos ? equals : equals - 2);
    std::ranges::replace(name, '-', '_');
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
  setting.given = read_given(setting) || take_words(setting);
  if (std::ranges::find(declared_, setting.name, &Declared::name) == declared_.end())
    declared_.push_back(std::move(setting));
}

/// The names under which a map has what is given for a setting: its own, its alias, habits.
template <class Map>
std::vector<std::string> Options::names_in(const Map& map, const Declared& setting) const {
  std::vector<std::string> names = {setting.name, setting.about.alias};
  for (const auto& [habit, name] : habits_)
    if (name == setting.name) names.push_back(habit);
  std::erase_if(names, [&](const std::string& name) { return name.empty() || !map.contains(name); });
  return names;
}

/// Reads what the file and the flags have for a setting; false if they have nothing.
bool Options::read_given(const Declared& setting) const {
  const About& about = setting.about;
  const bool in_params = source_ && about.role != Role::call;
  const std::vector<std::string> keys = in_params ? names_in(params_, setting) : std::vector<std::string>();
  if (!keys.empty()) {
    if (keys.size() > 1)
      fail("{}: {} and {} are the same setting: leave one out", *source_, keys[0], keys[1]);
    read_value(setting.target, about,
               {FoundValue::Origin::file, params_.at(keys[0]), fmt::format("{}: {}", *source_, keys[0])});
  }
  const std::vector<std::string> names = names_in(flags_, setting);
  if (names.empty()) return !keys.empty();
  if (names.size() > 1)
    throw UsageError(fmt::format("--{} and --{} are the same flag: leave one out", names[0], names[1]));
  const auto flag = flags_.find(names[0]);
  const std::string where = fmt::format("--{}", flag->first);
  const bool is_switch = std::holds_alternative<bool*>(setting.target);
  if (!flag->second && !is_switch)
    throw UsageError(fmt::format("{} needs a value: {}", where, expected_value(setting.target, about)));
  const std::string text = flag->second.value_or("1");
  read_value(setting.target, about, {FoundValue::Origin::flag, text, where});
  if (in_params && !is_utf8(text))  // which JSON is
    throw UsageError(fmt::format("{} must be in UTF-8, not '{}'", where, text));
  return true;
}

/// The words of a positional setting that its flag did not give; false if there are none.
bool Options::take_words(const Declared& setting) {
  if (!setting.about.positional || words_.empty()) return false;
  if (auto* const* list = std::get_if<std::vector<std::string>*>(&setting.target)) {
    **list = std::move(words_);
    words_.clear();
  } else {
    read_value(setting.target, setting.about, {FoundValue::Origin::flag, words_.front(), setting.name});
    words_.erase(words_.begin());
  }
  return true;
}

std::string Options::given_text(const std::string& name, const std::string& alias) const {
  std::string text;
  const Declared setting{name, {}, &text, {.help = {}, .alias = alias}, {}, {}};
  read_given(setting);
  return text;
}

void Options::belongs_to(const std::string& owner, const Options& other, bool shared) {
  for (const Declared& setting : other.declared_) {
    foreign_.push_back({setting.name, owner, shared});
    if (!setting.about.alias.empty()) foreign_.push_back({setting.about.alias, owner, shared});
  }
}

std::vector<std::string> Options::owners(std::string_view name) const {
  std::vector<std::string> owners;
  for (const Foreign& foreign : foreign_)
    if (foreign.name == name && std::ranges::find(owners, foreign.owner) == owners.end())
      owners.push_back(foreign.owner);
  return owners;
}

bool Options::is_ignored(std::string_view name) const {
  return find(name) == nullptr && std::ranges::any_of(foreign_, [&](const Foreign& foreign) {
           return foreign.shared && foreign.name == name;
         });
}

std::vector<std::string> Options::ignored() const {
  std::vector<std::string> keys;
  for (const auto& [name, value] : params_)
    if (is_ignored(name)) keys.push_back(fmt::format("{} (of {})", name, fmt::join(owners(name), ", ")));
  return keys;
}

const Options::Declared* Options::find(std::string_view name) const {
  for (const Declared& setting : declared_)
    if (setting.name == name || (!name.empty() && setting.about.alias == name)) return &setting;
  const auto habit = habits_.find(std::string(name));
  return habit != habits_.end() && habit->second != name ? find(habit->second) : nullptr;
}

bool Options::given(std::string_view name) const {
  const Declared* setting = find(name);
  return setting != nullptr && setting->given;
}

/// "unknown flag --sead; did you mean --seed?", or whose it is.
std::string Options::unknown(std::string_view name, bool flag) const {
  const std::string_view dashes = flag ? "--" : "";
  const std::string_view kind = flag ? "flag" : "key";
  if (const std::vector<std::string> others = owners(name); !others.empty())
    return fmt::format("{} {}{} is not one of {}, but of {}", kind, dashes, name, program_,
                       fmt::join(others, ", "));
  if (const auto answer = answers_.find(std::string(name));
      flag && answer != answers_.end() && find(answer->second.flag) != nullptr)
    return fmt::format("unknown flag --{}: {}", name, answer->second.text);
  std::vector<std::string> names;
  for (const Declared& setting : declared_)
    if (flag || setting.about.role != Role::call) names.push_back(setting.name);
  if (const std::string near = near_word(name, names); !near.empty())
    return fmt::format("unknown {} {}{}; did you mean {}{}?", kind, dashes, name, dashes, near);
  return fmt::format("unknown {} {}{}; --help shows all there are", kind, dashes, name);
}

void Options::check_names() const {
  if (!words_.empty()) throw no_flag(words_.front());
  for (const auto& [name, value] : flags_)
    if (find(name) == nullptr) throw UsageError(unknown(name, true));
  for (const auto& [name, value] : params_)
    if (const Declared* setting = find(name);
        !is_ignored(name) && (setting == nullptr || setting->about.role == Role::call))
      fail("{}: {}", *source_, unknown(name, false));
}

void Options::check_required() const {
  for (const Declared& setting : declared_) {
    if (!setting.about.required) continue;
    const auto* text = std::get_if<std::string*>(&setting.target);
    if (setting.given && (text == nullptr || !(*text)->empty())) continue;
    const bool in_file = source_ && setting.about.role != Role::call;
    if (!setting.about.advice.empty())
      throw UsageError(fmt::format("{} is missing: {}", setting.name, setting.about.advice));
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
  std::string words;
  for (const Declared& setting : declared_)
    if (setting.about.positional)
      words += std::holds_alternative<std::string*>(setting.target)
                   ? fmt::format(" {}", in_capitals(setting.name))
                   : fmt::format(" {} ...", in_capitals(setting.name));
  std::string text = fmt::format("Usage: {}{} --NAME VALUE ...\n", program_, words);
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
  for (const auto& [name, value] : params_)
    if (is_ignored(name)) lines.push_back(fmt::format("    {}: {}", nlohmann::json(name).dump(), value));
  return fmt::format("{{\n{}\n}}\n", fmt::join(lines, ",\n"));
}

}  // namespace generous
