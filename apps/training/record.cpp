#include "apps/training/record.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sched.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <fstream>
#include <vector>

#include "core/counted.h"
#include "core/files.h"
#include "nn/distill/methods.h"
#include "nn/parallel/mpi_group.h"

namespace generous {

namespace {

/// A word of a command as a shell takes it.
std::string as_word(const std::string& word) {
  constexpr std::string_view plain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=./,:@%";
  if (!word.empty() && word.find_first_not_of(plain) == std::string::npos) return word;
  std::string text = "'";
  for (const char c : word) text += c == '\'' ? "'\\''" : std::string(1, c);
  return text + "'";
}

/// The command that started this process.
std::string command() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  std::vector<std::string> words;
  for (std::string word; std::getline(file, word, '\0');) words.push_back(as_word(word));
  return fmt::format("{}", fmt::join(words, " "));
}

/// Of Linux's tables "name : value" the first value of this name; "" where there is none.
std::string value_in(const char* path, std::string_view name) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);)
    if (line.starts_with(name))
      if (const std::size_t colon = line.find(':'); colon != std::string::npos)
        return line.substr(std::min(line.find_first_not_of(" \t", colon + 1), line.size()));
  return {};
}

std::string host() {
  utsname system{};
  uname(&system);
  const std::string cpu = value_in("/proc/cpuinfo", "model name");
  cpu_set_t own{};
  sched_getaffinity(0, sizeof own, &own);
  const double gib = static_cast<double>(sysconf(_SC_PHYS_PAGES)) *
                     static_cast<double>(sysconf(_SC_PAGE_SIZE)) / (1024.0 * 1024.0 * 1024.0);
  return fmt::format("{}, {} {} {}, {}{} of {} cores, {:.1f} GiB", system.nodename, system.sysname,
                     system.release, system.machine, cpu.empty() ? "" : cpu + ", ", CPU_COUNT(&own),
                     sysconf(_SC_NPROCESSORS_ONLN), gib);
}

/// The values of settings by key, as one types them.
std::map<std::string, std::string> typed(const std::vector<SettingValue>& settings) {
  std::map<std::string, std::string> values;
  for (const SettingValue& setting : settings) {
    std::string value = setting.json;
    if (value.size() > 2 && value.starts_with('"')) value = value.substr(1, value.size() - 2);
    values[setting.key] = value;
  }
  return values;
}

/// "temperature 4, alpha 0.9": of those keys that are there, in the order of `settings`.
std::string words_of(const std::vector<SettingValue>& settings,
                     const std::map<std::string, std::string>& values) {
  std::vector<std::string> words;
  for (const SettingValue& setting : settings)
    if (const auto found = values.find(setting.key); found != values.end())
      words.push_back(found->first + " " + found->second);
  return fmt::format("{}", fmt::join(words, ", "));
}

std::string method_words(const std::string& name, const std::vector<SettingValue>& settings) {
  Options of_method(name);
  const std::unique_ptr<Method> method = make_method(name);
  method->declare(of_method);
  const std::string words = words_of(of_method.settings(), typed(settings));
  return words.empty() ? name : name + "; " + words;
}

/// Every setting of params.json, in lines that can be read.
void write_settings(RunLog& log, const std::vector<SettingValue>& settings) {
  constexpr std::size_t columns = 90;
  const std::map<std::string, std::string> values = typed(settings);
  std::string line;
  for (const SettingValue& setting : settings) {
    if (setting.left_out) continue;
    const std::string words = setting.key + " " + values.at(setting.key);
    if (!line.empty() && line.size() + words.size() + 2 > columns) log.detail("settings: " + line);
    line = line.empty() || line.size() + words.size() + 2 > columns ? words : line + ", " + words;
  }
  if (!line.empty()) log.detail("settings: " + line);
}

}  // namespace

void write_record(RunLog& log, const RunDescription& run) {
  const std::vector<SettingValue> settings = run.options.settings();
  log.record("version", fmt::format("{}, {}; {}", run.build.version, run.build.source, run.build.compiler));
  log.record("command", fmt::format("{} (in {})", command(), std::filesystem::current_path().string()));
  log.record("host", host());
  std::string libraries = run.build.libraries;
  if (run.group.size() > 1) libraries += ", " + mpi_version();
  log.record("computes on", run.device);
  log.record("libraries", libraries);
  if (run.group.size() > 1) log.record("processes", fmt::format("{}", run.group.size()));
  if (!run.teacher.empty()) log.record("teacher", run.teacher);
  log.record("method", method_words(run.method, settings));
  if (run.resumed) return;
  if (!run.recipe.empty()) {
    std::vector<std::string> words;
    for (const auto& [key, value] : run.recipe) words.push_back(key + " " + value);
    log.record("recipe",
               fmt::format("{} (defaults of this model, dataset and method)", fmt::join(words, ", ")));
  }
  write_settings(log, settings);
}

}  // namespace generous
