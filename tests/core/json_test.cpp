#include "core/json.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/temporary_folder.h"

using namespace generous;
using namespace std::string_literals;
using nlohmann::json;

namespace {

std::string nested(int depth) {
  return std::string(static_cast<std::size_t>(depth), '[') +
         std::string(static_cast<std::size_t>(depth), ']');
}

}  // namespace

TEST_CASE("valid JSON is read as it stands") {
  const json value =
      parse_json_strictly(" {\"a\": [1, -2, 3.5, true, null], \"b\": {\"a\": \"\\u00e4\"}}\n", "f");
  CHECK(value == json{{"a", {1, -2, 3.5, true, nullptr}}, {"b", {{"a", "ä"}}}});
  CHECK(value["a"][0].is_number_unsigned());
  CHECK(value["a"][1].is_number_integer());
  CHECK(value["a"][2].is_number_float());
  CHECK(parse_json_strictly("9223372036854775807", "f").get<std::int64_t>() == 9223372036854775807);
  CHECK(parse_json_strictly("18446744073709551616", "f").is_number_float());
  // The same key in different objects is no duplicate.
  CHECK(parse_json_strictly(R"([{"a": {"a": 1}, "b": {"a": 2}}, {"a": 3}])", "f").size() == 2);
  CHECK_NOTHROW(parse_json_strictly(nested(64), "f"));
}

TEST_CASE("anything else is an error that says where and why") {
  struct Case {
    std::string text;
    std::vector<std::string> fragments;
  };
  const std::vector<Case> cases = {
      {"", {"line 1", "unexpected end of input"}},
      {"{\"a\":1}x", {"line 1, column 8"}},
      {"{\"a\":1} {}", {"line 1, column 9", "expected end of input"}},
      {"{\n  \"a\": 1,\n  b\n}", {"line 3, column 3"}},
      {"[1,]", {"line 1, column 4"}},
      {"{\"a\":1}\0garbage"s, {"byte 7 is zero"}},
      {"// no comments\n1", {"line 1"}},
      {"nan", {"line 1"}},
      {"010", {"line 1"}},
      {"1e999", {"overflow", "1e999"}},
      {"-1e999", {"overflow", "-1e999"}},
      {"\"\xff\"", {"ill-formed UTF-8"}},
      {"\"\xed\xa0\x80\"", {"ill-formed UTF-8"}},
      {"\"\\ud800\"", {"surrogate"}},
      {"\"a\nb\"", {"control character"}},
      {"\""s + std::string(1000, 'a'), {"missing closing quote"}},
      {"1"s + std::string(1000, '0'), {"overflow"}},
      {R"({"a": 1, "b": 2, "a": 1})", {"\"a\"", "twice"}},
      {R"([{"b": {"\u0061": 1, "a": 2}}])", {"\"a\"", "twice"}},
      {nested(65), {"deeper than 64"}},
      {nested(100'000), {"deeper than 64"}},
  };
  for (const Case& c : cases) {
    CAPTURE(c.text);
    const std::string message = error_of([&] { parse_json_strictly(c.text, "some/file.json"); });
    CHECK(message.starts_with("some/file.json"));
    CHECK(message.find('\n') == std::string::npos);
    CHECK(message.size() < 300);
    for (const std::string& fragment : c.fragments) {
      CAPTURE(message);
      CHECK(message.find(fragment) != std::string::npos);
    }
  }
}

TEST_CASE("an excerpt is one line of ASCII of limited length") {
  CHECK(json_excerpt(json{{"a", {1, "x"}}}) == R"({"a":[1,"x"]})");
  CHECK(json_excerpt(json("ä\n")) == R"("\u00e4\n")");
  CHECK(json_excerpt(json("\xff")) ==
        R"("\ufffd")");  // not UTF-8: a name to be written, never one that was read
  CHECK(json_excerpt(json(std::string(81, 'a'))) == "\""s + std::string(79, 'a') + "...");
}
