#include "core/setting.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "core/error.h"
#include "core/json.h"
#include "core/nearest.h"

namespace generous {

namespace {

using nlohmann::json;

/// One reader per type: from a text or a JSON value to the member's type.
class Reader {
 public:
  Reader(const Target& target, const About& about, const FoundValue& found)
      : target_(target), about_(about), found_(found), is_json_(found.origin == FoundValue::Origin::file) {
    value_ = is_json_ ? json::parse(found.text) : json(found.text);
  }

  void operator()(std::int64_t* out) const { *out = integer(value_); }

  void operator()(double* out) const {
    std::optional<double> number;
    if (!is_json_)
      number = parse<double>(found_.text);
    else if (value_.is_number())
      number = value_.get<double>();
    if (!number || !(*number >= about_.min && *number <= about_.max)) reject();
    *out = *number;
  }

  void operator()(bool* out) const {
    const std::string text = is_json_ ? value_.dump() : found_.text;
    *out = text == "1" || text == "true";
    if (!*out && text != "0" && text != "false") reject();
  }

  void operator()(std::string* out) const {
    if (!value_.is_string()) reject();
    *out = value_.get<std::string>();
    check_choices(*out);
    if (about_.fits && !about_.fits(*out)) reject();
  }

  void operator()(std::vector<std::string>* out) const {
    if (!value_.is_string()) reject();  // in a file as in a flag
    *out = split(value_.get<std::string>());
    for (const std::string& item : *out) check_choice(item);
  }

  void operator()(std::vector<std::int64_t>* out) const {
    out->clear();
    if (!is_json_) {
      for (const std::string& part : split(found_.text)) out->push_back(integer(part));
    } else {
      if (!value_.is_array()) reject();
      for (const json& item : value_) out->push_back(integer(item));
    }
    const std::size_t count = about_.count > 0 ? about_.count : std::set(out->begin(), out->end()).size();
    if (out->size() != count) reject();
  }

 private:
  [[noreturn]] void reject(const std::string& hint = "") const {
    const std::string shown = is_json_ ? json_excerpt(value_) : fmt::format("'{}'", found_.text);
    const std::string message =
        fmt::format("{} must be {}, not {}{}{}", found_.where, expected_value(target_, about_), shown, hint,
                    about_.advice.empty() ? "" : ": " + about_.advice);
    if (found_.origin == FoundValue::Origin::flag) throw UsageError(message);
    throw Error(message);
  }

  /// The number that the whole text spells in decimal, or nothing. Some would read leading zeros as octal.
  template <class T>
  static std::optional<T> parse(std::string_view text) {
    const std::string_view digits = text.substr(text.starts_with('-') ? 1 : 0);
    if (digits.size() > 1 && digits[0] == '0' && digits[1] >= '0' && digits[1] <= '9') return {};
    T value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) return {};
    if constexpr (std::is_floating_point_v<T>)
      if (!std::isfinite(value)) return {};
    return value;
  }

  std::int64_t integer(const json& value) const {
    std::optional<std::int64_t> number;
    if (!is_json_) number = parse<std::int64_t>(value.get<std::string>());
    // An unsigned value beyond int64 would wrap: it is out of every range anyway.
    else if (value.is_number_integer() &&
             (!value.is_number_unsigned() || value.get<std::uint64_t>() < (1ULL << 63)))
      number = value.get<std::int64_t>();
    if (!number || static_cast<double>(*number) < about_.min || static_cast<double>(*number) > about_.max)
      reject();
    return *number;
  }

  /// What stands between the commas.
  static std::vector<std::string> split(const std::string& text) {
    std::vector<std::string> parts;
    for (std::size_t begin = 0; begin <= text.size();) {
      const std::size_t comma = std::min(text.find(',', begin), text.size());
      parts.push_back(text.substr(begin, comma - begin));
      begin = comma + 1;
    }
    return parts;
  }

  void check_choices(const std::string& value) const {
    const std::vector<std::string> all = about_.several ? split(value) : std::vector{value};
    for (const std::string& one : all) {
      check_choice(one);
      if (std::ranges::count(all, one) > 1) reject(fmt::format(" ('{}' more than once)", one));
    }
  }

  void check_choice(const std::string& value) const {
    const std::vector<std::string>& choices = about_.choices;
    if (!choices.empty() && std::ranges::find(choices, value) == choices.end())
      reject(suggestion(value, choices));
  }

  const Target& target_;
  const About& about_;
  const FoundValue& found_;
  bool is_json_;
  json value_;
};

}  // namespace

void read_value(const Target& target, const About& about, const FoundValue& found) {
  std::visit(Reader(target, about, found), target);
}

std::string expected_value(const Target& target, const About& about) {
  const bool is_list = std::holds_alternative<std::vector<std::string>*>(target);
  if (!about.choices.empty())
    return fmt::format("{} {}",
                       is_list         ? "some, with commas between, of"
                       : about.several ? "one, or several with commas between, of"
                                       : "one of",
                       fmt::join(about.choices, ", "));
  if (is_list) return "names with commas between";
  if (std::holds_alternative<std::string*>(target)) return about.form.empty() ? "text" : about.form;
  if (std::holds_alternative<bool*>(target)) return "0 or 1";
  if (std::holds_alternative<double*>(target))
    return fmt::format("a number from {} to {}", about.min, about.max);
  const auto min = static_cast<std::int64_t>(about.min);
  const auto max = static_cast<std::int64_t>(about.max);
  if (std::holds_alternative<std::int64_t*>(target)) return fmt::format("an integer from {} to {}", min, max);
  if (about.count > 0)
    return fmt::format("{} integers from {} to {} with commas between", about.count, min, max);
  return fmt::format("a list of integers from {} to {}, each once", min, max);
}

std::string to_json(const Target& target) {
  return std::visit(
      [](const auto* value) {
        if constexpr (std::is_same_v<decltype(value), const bool*>)
          return json(*value ? 1 : 0).dump();
        else
          return json(*value).dump();
      },
      target);
}

std::string to_text(const Target& target) {
  return std::visit(
      [](const auto* value) {
        using Value = std::remove_cvref_t<decltype(*value)>;
        if constexpr (std::is_same_v<Value, bool>)
          return fmt::format("{}", *value ? 1 : 0);
        else if constexpr (std::is_same_v<Value, std::string> || std::is_arithmetic_v<Value>)
          return fmt::format("{}", *value);
        else
          return fmt::format("{}", fmt::join(*value, ","));
      },
      target);
}

}  // namespace generous
