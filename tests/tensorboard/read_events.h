// Event files, read by the numbers that TensorFlow gives their fields, without protobuf.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "apps/tensorboard/event_file.h"
#include "apps/tensorboard/records.h"
#include "core/error.h"
#include "core/files.h"

namespace generous {

/// A field of a message in protobuf's encoding.
struct WireField {
  std::uint64_t number = 0;
  std::uint64_t value = 0;      ///< of a varint, or the bits of four or eight bytes
  std::string_view bytes = {};  ///< of a text or a message

  double real() const { return std::bit_cast<double>(value); }
  float single() const { return std::bit_cast<float>(static_cast<std::uint32_t>(value)); }
};

inline std::uint64_t take_little_endian(std::string_view& rest, std::size_t bytes) {
  require(rest.size() >= bytes, "a message is cut");
  std::uint64_t number = 0;
  for (std::size_t i = bytes; i-- > 0;) number = number << 8 | static_cast<unsigned char>(rest[i]);
  rest.remove_prefix(bytes);
  return number;
}

inline std::uint64_t take_varint(std::string_view& rest) {
  std::uint64_t number = 0;
  for (int shift = 0;; shift += 7) {
    const std::uint64_t byte = take_little_endian(rest, 1);
    number |= (byte & 0x7F) << shift;
    if (byte < 0x80) return number;
  }
}

inline std::vector<WireField> fields_of(std::string_view message) {
  std::vector<WireField> fields;
  while (!message.empty()) {
    const std::uint64_t key = take_varint(message);
    WireField field{.number = key >> 3};
    switch (key & 7) {
      case 0:
        field.value = take_varint(message);
        break;
      case 1:
        field.value = take_little_endian(message, 8);
        break;
      case 5:
        field.value = take_little_endian(message, 4);
        break;
      case 2: {
        const std::uint64_t size = take_varint(message);
        require(size <= message.size(), "a message is cut");
        field.bytes = message.substr(0, size);
        message.remove_prefix(size);
        break;
      }
      default:
        fail("no such wire type");
    }
    fields.push_back(field);
  }
  return fields;
}

inline std::vector<double> reals_of(std::string_view packed) {
  std::vector<double> numbers;
  while (!packed.empty()) numbers.push_back(std::bit_cast<double>(take_little_endian(packed, 8)));
  return numbers;
}

struct ReadEvent {
  double wall_time = 0.0;
  std::int64_t step = 0;
  std::string version = {};
  bool start = false;
  std::map<std::string, float> scalars = {};
  std::map<std::string, Histogram> histograms = {};
  std::map<std::string, std::string> texts = {};
};

inline Histogram histogram_in(std::string_view message) {
  Histogram histogram;
  for (const WireField& field : fields_of(message)) {
    if (field.number == 1) histogram.smallest = field.real();
    if (field.number == 2) histogram.largest = field.real();
    if (field.number == 3) histogram.count = field.real();
    if (field.number == 4) histogram.sum = field.real();
    if (field.number == 5) histogram.sum_of_squares = field.real();
    if (field.number == 6) histogram.limits = reals_of(field.bytes);
    if (field.number == 7) histogram.counts = reals_of(field.bytes);
  }
  return histogram;
}

inline void read_value(std::string_view message, ReadEvent& event) {
  std::string tag;
  std::string plugin;
  for (const WireField& field : fields_of(message)) {
    if (field.number == 1) tag = field.bytes;
    if (field.number == 2) event.scalars[tag] = field.single();
    if (field.number == 5) event.histograms[tag] = histogram_in(field.bytes);
    if (field.number == 8)
      for (const WireField& of_tensor : fields_of(field.bytes)) {
        if (of_tensor.number == 1) require(of_tensor.value == 7, "a tensor of no texts");
        if (of_tensor.number == 8) event.texts[tag] = of_tensor.bytes;
      }
    if (field.number == 9)
      for (const WireField& of_metadata : fields_of(field.bytes))
        for (const WireField& of_plugin : fields_of(of_metadata.bytes)) plugin = of_plugin.bytes;
  }
  require(event.texts.contains(tag) == (plugin == "text"), "{} is shown by {}", tag, plugin);
}

/// All of a file, which must be whole.
inline std::vector<ReadEvent> events_in(const std::filesystem::path& path) {
  const std::string content = read_file(path);
  const Records records = read_records(content);
  require(records.whole, "{} is not whole", path.string());
  std::vector<ReadEvent> events;
  for (const std::string_view record : records.data) {
    ReadEvent event;
    for (const WireField& field : fields_of(record)) {
      if (field.number == 1) event.wall_time = field.real();
      if (field.number == 2) event.step = static_cast<std::int64_t>(field.value);
      if (field.number == 3) event.version = field.bytes;
      if (field.number == 5)
        for (const WireField& value : fields_of(field.bytes)) read_value(value.bytes, event);
      if (field.number == 7)
        for (const WireField& of_session : fields_of(field.bytes))
          event.start = of_session.number == 1 && of_session.value == 1;
    }
    events.push_back(std::move(event));
  }
  return events;
}

/// The event files of a folder, in the order of their names, in which TensorBoard reads them.
inline std::vector<std::filesystem::path> event_files(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (entry.path().filename().string().starts_with(event_file_prefix)) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

/// The events of a run's epochs, of all its files. Each begins as TensorBoard wants it, and has later epochs
/// than the one before.
inline std::vector<ReadEvent> epochs_of(const std::filesystem::path& folder) {
  std::vector<ReadEvent> epochs;
  for (const std::filesystem::path& file : event_files(folder)) {
    const std::vector<ReadEvent> events = events_in(file);
    require(events.at(0).version == "brain.Event:2", "{} has no version", file.string());
    const auto so_far = static_cast<std::int64_t>(epochs.size());
    for (std::size_t i = 1; i < events.size(); ++i) {
      require(events[i].start == (i == 1), "{}: its beginning is elsewhere", file.string());
      if (events[i].start)
        require(events[i].step == so_far + 1, "{} begins with {}", file.string(), events[i].step);
      if (events[i].scalars.empty()) continue;
      epochs.push_back(events[i]);
      require(events[i].step == std::ssize(epochs), "{}: epoch {} after {} others", file.string(),
              events[i].step, epochs.size() - 1);
    }
  }
  return epochs;
}

}  // namespace generous
