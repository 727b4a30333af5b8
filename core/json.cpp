#include "core/json.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "core/error.h"

namespace generous {
namespace {

using nlohmann::json;

constexpr int max_depth = 64;
constexpr std::size_t max_excerpt = 80;

std::string shortened(std::string text) {
  if (text.size() > max_excerpt) text = text.substr(0, max_excerpt) + "...";
  return text;
}

/// Without nlohmann's "[json.exception.parse_error.101] " and without the text it read last, which may be as
/// long as the file and need not be UTF-8.
std::string reason(std::string_view what) {
  what.remove_prefix(what.find("] ") + 2);
  return std::string(what.substr(0, what.find("; last read: ")));
}

}  // namespace

json parse_json_strictly(std::string_view text, const std::string& source) {
  const std::size_t zero = text.find('\0');
  if (zero != std::string_view::npos) fail("{} is not valid JSON: byte {} is zero", source, zero);

  std::vector<std::set<std::string>> keys;  // of the objects that are open
  const auto check = [&](int depth, json::parse_event_t event, const json& value) {
    switch (event) {
      case json::parse_event_t::object_start:
      case json::parse_event_t::array_start:
        require(depth < max_depth, "{}: JSON nested deeper than {} levels", source, max_depth);
        if (event == json::parse_event_t::object_start) keys.emplace_back();
        break;
      case json::parse_event_t::object_end:
        keys.pop_back();
        break;
      case json::parse_event_t::key:
        if (!keys.back().insert(value.get<std::string>()).second)
          fail("{}: the key {} appears twice in one object", source, json_excerpt(value));
        break;
      case json::parse_event_t::array_end:
      case json::parse_event_t::value:
        break;
    }
    return true;
  };
  try {
    return json::parse(text.begin(), text.end(), check);
  } catch (const json::parse_error& error) {
    fail("{} is not valid JSON: {}", source, reason(error.what()));
  } catch (const json::out_of_range& error) {
    fail("{}: {}", source, shortened(reason(error.what())));
  }
}

std::string json_excerpt(const json& value) {
  return shortened(value.dump(-1, ' ', /*ensure_ascii=*/true, json::error_handler_t::replace));
}

}  // namespace generous
