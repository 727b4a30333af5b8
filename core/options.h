// Settings, declared by the parts that use them: each once, bound to the member that holds it, whose value is
// the default. Flags, a file params.json, --help and what is written back all come from the declarations.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/setting.h"

namespace generous {

/// A setting and its value as JSON.
struct SettingValue {
  std::string key;
  std::string json;
  std::string json_default;
  bool may_change = false;  ///< a resumed run may have another value
  bool unused = false;      ///< without effect
  bool left_out = false;    ///< of params.json
};

/// Reads each setting where it is declared, so that one setting can choose the part that declares the next.
/// The member's own value is overridden by `defaults`, these by `params`, these by the flags. Messages name
/// the key, what was found and what would be right, with the nearest known name for an unknown one.
class Options {
 public:
  /// `arguments` are a command line without the program's name: `--name value`, `--name=value`, for a switch
  /// `--name` alone, and words for what is declared as positional. Throws UsageError for anything else, and
  /// for a flag that is given twice.
  explicit Options(std::string program, const std::vector<std::string>& arguments = {});

  /// The file to which what is declared from here on is written back; it is read if it is there. Throws Error
  /// if it is no JSON object.
  void params(const std::filesystem::path& file);
  /// The same of a file's `text`; `source` names it in messages.
  void params(std::string_view text, std::string source);
  /// Other defaults for what is declared from here on, as in flags: a recipe. Earlier ones win.
  void defaults(const std::map<std::string, std::string>& values);
  /// The heading in --help of what is declared from here on.
  void group(std::string name) { group_ = std::move(name); }

  /// Puts `prefix` and a dot before the names of what is declared from here on, and leaves out what is called
  /// one of `left_out`, which keeps its default; "" ends that.
  void prefix(std::string prefix, std::vector<std::string> left_out = {});

  /// Declares a setting and reads it into `value` (a text, int64, double or bool, or a list of int64 or
  /// texts), which must outlive this object. Two parts may declare the same name: both get what is given.
  /// Throws UsageError for a flag with a wrong value, Error for one in the file.
  template <class T>
  void add(std::string name, T& value, About about) {
    declare(std::move(name), &value, std::move(about));
  }
  /// Names that settings have in other programs, each with the one that it has here, as which it is
  /// understood.
  void habits(std::map<std::string, std::string> names) { habits_ = std::move(names); }
  /// What to say of flags that other programs have and this one has not.
  struct Answer {
    std::string flag;  ///< that it speaks of: programs without it do not give it
    std::string text;
  };
  void answers(std::map<std::string, Answer> answers) { answers_ = std::move(answers); }
  /// What the file or a flag has for a text that is to be declared later; "" if nothing.
  std::string given_text(const std::string& name, const std::string& alias = {}) const;

  /// For the message when a name that is not declared here, but in `other`, is given: it is one of `owner`.
  /// Where it is `shared`, files may be for both programs: its names are accepted there, see ignored().
  void belongs_to(const std::string& owner, const Options& other, bool shared = false);
  /// Keys of the file that are another program's, without effect here and written back as they are: "alpha
  /// (of train_kd)".
  std::vector<std::string> ignored() const;

  /// To be called when everything is declared. False if --help was asked for: it is printed. Throws
  /// UsageError for an unknown flag, a word that belongs to none and what is required and missing, Error for
  /// an unknown key in the file.
  bool finish() const;
  /// The part of `finish` about unknown names.
  void check_names() const;
  bool asks_for_help() const { return help_; }
  std::string help() const;

  const std::string& program() const { return program_; }
  /// Whether the file or a flag gives what is declared under this name.
  bool given(std::string_view name) const;
  /// Whether the file has this key, and no flag gives another value.
  bool from_file(std::string_view key) const { return params_.contains(key) && !flags_.contains(key); }
  /// What decides a run, with the values that the members have now, in the order of declaration: nothing of
  /// one call alone, and what is unused only where it is given.
  std::vector<SettingValue> settings() const;
  /// `settings` as the text of a params.json, without those that are left out.
  std::string to_json() const;

 private:
  struct Declared {
    std::string name;
    std::string group;
    Target target;
    About about;
    std::string json_default;
    std::string text_default;
    bool given = false;
  };
  using Texts = std::map<std::string, std::string, std::less<>>;

  void declare(std::string name, Target target, About about);
  bool read_given(const Declared& setting) const;
  template <class Map>
  std::vector<std::string> names_in(const Map& map, const Declared& setting) const;
  bool take_words(const Declared& setting);
  const Declared* find(std::string_view name) const;
  std::vector<std::string> owners(std::string_view name) const;
  bool is_ignored(std::string_view name) const;
  std::string unknown(std::string_view name, bool flag) const;
  void check_required() const;

  std::string program_;
  std::string group_;
  std::string prefix_;
  std::vector<std::string> left_out_;
  bool help_ = false;
  std::map<std::string, std::optional<std::string>, std::less<>> flags_;  ///< nothing: without a value
  std::vector<std::string> words_;     ///< that no flag took, nor a positional setting so far
  std::optional<std::string> source_;  ///< names the file in messages
  Texts params_;                       ///< values as JSON
  Texts defaults_;
  struct Foreign {
    std::string name;
    std::string owner;
    bool shared;
  };
  std::vector<Foreign> foreign_;  ///< names declared elsewhere
  std::map<std::string, std::string> habits_;
  std::map<std::string, Answer> answers_;
  std::vector<Declared> declared_;
};

}  // namespace generous
