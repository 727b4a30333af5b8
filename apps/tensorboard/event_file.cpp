#include "apps/tensorboard/event_file.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <chrono>
#include <climits>
#include <optional>

#include "apps/tensorboard/records.h"
#include "core/error.h"
#include "core/files.h"
#include "core/open_file.h"
#include "event.pb.h"

namespace generous {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view settings_tag = "settings";
/// Of the names of files that this program wrote.
constexpr std::string_view own_suffix = ".generous";

double seconds_since_1970() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

/// The host's name as a part of a file's name.
std::string host() {
  std::array<char, HOST_NAME_MAX + 1> name{};
  ::gethostname(name.data(), name.size() - 1);
  std::string text = name.data();
  for (char& c : text)
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '-' && c != '.') c = '_';
  return text;
}

/// A file that this program wrote.
struct OwnFile {
  std::uint32_t seconds = 0;  ///< in its name: since 1970; 0 where there is no such number
  fs::path path;
};

/// The newest one last.
std::vector<OwnFile> own_files(const fs::path& folder) {
  std::vector<OwnFile> files;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (!name.starts_with(event_file_prefix) || !name.ends_with(own_suffix)) continue;
    OwnFile file{.path = entry->path()};
    std::from_chars(name.data() + event_file_prefix.size(), name.data() + name.size(), file.seconds);
    files.push_back(std::move(file));
  }
  if (error) fail("cannot list the folder {}: {}", folder.string(), error.message());
  std::ranges::sort(files, {}, [](const OwnFile& file) { return std::pair(file.seconds, file.path); });
  return files;
}

events::Event event_at(std::int64_t step) {
  events::Event event;
  event.set_wall_time(seconds_since_1970());
  event.set_step(step);
  return event;
}

/// The settings from this epoch on: a text that TensorBoard shows as it is.
events::Event settings_event(std::int64_t epoch, const std::string& settings) {
  events::Event event = event_at(epoch);
  events::Summary::Value& value = *event.mutable_summary()->add_value();
  value.set_tag(std::string(settings_tag));
  value.mutable_metadata()->mutable_plugin_data()->set_plugin_name("text");
  value.mutable_tensor()->set_dtype(events::Tensor::STRING);
  value.mutable_tensor()->mutable_tensor_shape();
  value.mutable_tensor()->add_string_val(settings);
  return event;
}

/// The settings that an event holds, if it is such a one.
std::optional<std::string> settings_in(const events::Event& event) {
  if (event.summary().value_size() != 1 || event.summary().value(0).tag() != settings_tag) return {};
  const events::Tensor& tensor = event.summary().value(0).tensor();
  return tensor.string_val_size() == 1 ? std::optional(tensor.string_val(0)) : std::nullopt;
}

void set_histogram(events::Histogram& message, const Histogram& histogram) {
  message.set_min(histogram.smallest);
  message.set_max(histogram.largest);
  message.set_num(histogram.count);
  message.set_sum(histogram.sum);
  message.set_sum_squares(histogram.sum_of_squares);
  for (const double limit : histogram.limits) message.add_bucket_limit(limit);
  for (const double count : histogram.counts) message.add_bucket(count);
}

/// Where the file is no more it begins anew.
void append(const fs::path& path, std::string_view content) {
  const auto fail_with_reason = [&path](std::string_view step) {
    const int error = errno;
    fail("cannot write {}: {} ({})", path.string(), system_reason(error), step);
  };
  OpenFile file = OpenFile::open(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW);
  if (!file.is_open()) fail_with_reason("opening it");
  while (!content.empty()) {
    const ssize_t written = file.write(content);
    if (written < 0) fail_with_reason("writing behind its end");
    content.remove_prefix(static_cast<std::size_t>(written));
  }
  if (!file.sync()) fail_with_reason("syncing it");
}

}  // namespace

bool has_event_files() { return true; }

EventFile::EventFile(fs::path folder, std::string settings)
    : folder_(std::move(folder)), settings_(std::move(settings)) {
  go_on_behind(0);
}

std::vector<std::string> EventFile::go_on_behind(std::int64_t last) {
  last_ = last;
  last_settings_.clear();
  cut_.clear();
  const std::vector<OwnFile> files = own_files(folder_);
  if (files.empty() && last > 0)
    return {fmt::format("{} has no event file: it begins after epoch {}", folder_.string(), last)};
  std::vector<std::string> notes;
  for (const OwnFile& file : files) {
    newest_ = std::max(newest_, file.seconds);
    const std::string content = read_file(file.path);
    const Records records = read_records(content);
    bool whole = records.whole;
    std::string kept;
    for (const std::string_view record : records.data) {
      events::Event event;
      if (!event.ParseFromString(std::string(record))) {
        whole = false;
        break;
      }
      if (event.step() > last) break;
      kept += record_of(record);
      last_settings_ = settings_in(event).value_or(last_settings_);
    }
    if (kept != content) cut_[file.path] = kept;
    if (!whole)
      notes.push_back(fmt::format("{}: the end is cut off or damaged, and is left out", file.path.string()));
  }
  return notes;
}

void EventFile::add(const EpochSummary& summary) {
  events::Event event = event_at(summary.epoch);
  for (const auto& [tag, number] : summary.scalars) {
    events::Summary::Value& value = *event.mutable_summary()->add_value();
    value.set_tag(tag);
    value.set_simple_value(static_cast<float>(number));
  }
  for (const auto& [tag, histogram] : summary.histograms) {
    events::Summary::Value& value = *event.mutable_summary()->add_value();
    value.set_tag(tag);
    set_histogram(*value.mutable_histo(), histogram);
  }
  unwritten_ += record_of(event.SerializeAsString());
}

void EventFile::write() {
  for (const auto& [path, content] : cut_) write_file_atomically(path, content);
  cut_.clear();
  if (unwritten_.empty()) return;
  path_.empty() ? begin() : append(path_, unwritten_);
  unwritten_.clear();
}

void EventFile::begin() {
  events::Event version = event_at(0);
  version.set_file_version("brain.Event:2");
  events::Event start = event_at(last_ + 1);
  start.mutable_session_log()->set_status(events::SessionLog::START);
  std::string content = record_of(version.SerializeAsString()) + record_of(start.SerializeAsString());
  if (settings_ != last_settings_)
    content += record_of(settings_event(last_ + 1, settings_).SerializeAsString());
  // TensorBoard reads the files of a folder in the order of their names.
  const auto seconds = std::max(static_cast<std::int64_t>(seconds_since_1970()), std::int64_t{newest_} + 1);
  const fs::path path = folder_ / fmt::format("{}{}.{}{}", event_file_prefix, seconds, host(), own_suffix);
  write_file_atomically(path, content + unwritten_);
  path_ = path;
}

}  // namespace generous
