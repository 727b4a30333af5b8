// One setting: where its value lies, which values it takes, and how it is read and shown.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace generous {

/// What a setting does to a run that is resumed, and whether params.json has it.
enum class Role : std::uint8_t {
  setting,   ///< decides the result: a resumed run must have the same value
  flexible,  ///< may change when a run is resumed
  unused,    ///< accepted because old files have it, and without effect
  call,      ///< of one call alone: a flag, never in params.json
};

/// What a setting is for and which values it takes.
struct About {
  std::string help;
  double min = 0.0;  ///< numbers: the accepted range, both ends included
  double max = 0.0;
  std::size_t count = 0;  ///< lists of integers: exactly so many, equal ones too; 0: any number, each once
  std::vector<std::string> choices = {};  ///< text and lists of it: the accepted values; empty for any
  std::string form = {};  ///< text of a form of its own: what is expected, for messages and help
  std::function<bool(const std::string&)> fits = {};  ///< whether a text is of that form
  std::string advice = {};                            ///< for the message when it is refused or missing
  Role role = Role::setting;
  std::string alias = {};   ///< another name that is understood
  bool several = false;     ///< text: more than one choice is accepted, with commas between, each once
  bool positional = false;  ///< may be given without its flag's name: a text by the next word, a list by all
  bool required = false;    ///< it has no default, and must not be empty
  bool left_out = false;    ///< of params.json while it has its default: most people never hear of it
};

/// The member that holds a setting's value, which also is its type.
using Target = std::variant<std::string*, std::int64_t*, double*, bool*, std::vector<std::int64_t>*,
                            std::vector<std::string>*>;

/// A value as it was found.
struct FoundValue {
  enum class Origin : std::uint8_t { flag, file, recipe } origin;
  std::string text;   ///< of a file: JSON
  std::string where;  ///< "--seed" or "DIR/params.json: seed"
};

/// Reads what was found into `target`. Numbers are decimal: no spaces, no sign +, no leading zeros, no inf or
/// nan; lists have commas between in a flag, and lists of integers have each once. Throws UsageError for a
/// wrong flag, else Error: what was found where, and what would be right.
void read_value(const Target& target, const About& about, const FoundValue& found);

/// "an integer from 1 to 65536", "0 or 1", "one of sgd, adam": for messages and help.
std::string expected_value(const Target& target, const About& about);

/// The value on one line, as JSON (a switch is 0 or 1), and as in a flag.
std::string to_json(const Target& target);
std::string to_text(const Target& target);

}  // namespace generous
