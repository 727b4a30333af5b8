// The one table of what can be configured: each key's name, type, range, programs and meaning. params.json
// and the command line both go through it.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "apps/training/config.h"

namespace generous {

/// Where a key's value lives, which also is its type.
using Member = std::variant<std::string Config::*, std::int64_t Config::*, double Config::*, bool Config::*,
                            std::vector<std::int64_t> Config::*, std::vector<std::string> Config::*>;

enum class KeyRole : std::uint8_t {
  setting,   ///< decides the result: a resumed run must have the same value
  flexible,  ///< may change when a run is resumed
  unused,    ///< accepted because the paper's files have it, and without effect
  call,      ///< of one call alone: a flag, not a key of params.json
};

struct Key {
  std::string_view name;
  unsigned programs;  ///< bits 1 << Program
  KeyRole role;
  Member member;
  std::string_view help;
  double min = 0.0;  ///< numbers: the accepted range, both ends included
  double max = 0.0;
  std::vector<std::string> choices = {};  ///< text and lists of it: accepted values; empty for any
  bool required = false;
  bool left_out = false;  ///< of params.json while it has its default: most people never hear of it

  bool is_for(Program program) const { return (programs >> static_cast<unsigned>(program) & 1U) != 0; }
};

/// Every key, in the order of help and params.json. `alpha` and `temperature` differ between programs and
/// have an entry for each.
const std::vector<Key>& all_keys();

/// The key of this name for this program, or nullptr.
const Key* find_key(Program program, std::string_view name);

/// "an integer from 1 to 65536", "0 or 1", "one of sgd, adam": for messages and help.
std::string expected_value(const Key& key);

/// The recipe that the paper uses for this model and dataset: the defaults of a training program.
Config default_config(Program program, const std::string& model_name, const std::string& dataset);

}  // namespace generous
