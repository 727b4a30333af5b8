// A part with settings of every type, read from flags and files.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "core/options.h"

namespace generous::testing {

using Arguments = std::vector<std::string>;

inline bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

/// The settings of a part with one of every type.
struct Part {
  std::string place = "here";
  std::string kind = "plain";
  std::int64_t count = 3;
  double rate = 0.5;
  bool loud = false;
  std::vector<std::int64_t> steps = {4, 7};
  std::vector<std::string> names = {"a", "b"};
  bool old = true;
  std::string folder;

  void declare(Options& options) {
    options.group("run");
    options.add("folder", folder, {.help = "where", .role = Role::call});
    options.group("model");
    options.add("place", place, {.help = "a place", .role = Role::flexible, .alias = "location"});
    options.add("kind", kind, {.help = "a kind", .choices = {"plain", "fancy"}});
    options.add("count", count, {.help = "how many", .min = 1, .max = 9007199254740991});
    options.add("rate", rate, {.help = "how fast", .min = -1, .max = 1e6});
    options.group("training");
    options.add("loud", loud, {.help = "say more", .left_out = true});
    options.add("steps", steps, {.help = "when", .min = 0, .max = 100});
    options.add("names", names, {.help = "who", .choices = {"a", "b", "c"}});
    options.add("old", old, {.help = "once", .role = Role::unused});
  }
};

inline Part from_flags(const Arguments& arguments) {
  Options options("program", arguments);
  Part part;
  part.declare(options);
  options.finish();
  return part;
}

inline Part from_text(std::string_view text, const Arguments& arguments = {}) {
  Options options("program", arguments);
  options.params(text, "p.json");
  Part part;
  part.declare(options);
  options.finish();
  return part;
}

/// What the error says, and of which kind it is.
template <class Call>
std::string usage_error(Call call) {
  try {
    call();
  } catch (const UsageError& error) {
    return error.what();
  }
  return "no usage error";
}

template <class Call>
std::string file_error(Call call) {
  try {
    call();
  } catch (const UsageError&) {
    return "a usage error";
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace generous::testing
