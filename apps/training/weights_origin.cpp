#include "apps/training/weights_origin.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"
#include "core/safetensors.h"

namespace generous {

using nlohmann::json;
namespace fs = std::filesystem;

namespace {

constexpr const char* model_key = "model_name";
constexpr const char* model_settings_key = "model_settings";
constexpr const char* image_key = "image";
constexpr const char* image_size_key = "image_size";
constexpr const char* program_key = "program";
constexpr const char* method_key = "method";
constexpr const char* teacher_key = "teacher";
constexpr const char* epoch_key = "epoch";
constexpr const char* top1_key = "top1";
constexpr const char* validation_top1_key = "validation_top1";
constexpr const char* dataset_key = "dataset";
constexpr const char* classes_key = "classes";
constexpr const char* head_key = "head";
constexpr const char* normalisation_key = "normalisation";

std::string entry(const std::map<std::string, std::string>& metadata, const std::string& key) {
  const auto found = metadata.find(key);
  return found == metadata.end() ? std::string() : found->second;
}

/// The whole of a text as a number from 0 to `most`; nothing for an empty one.
template <class T>
std::optional<T> number_of(const std::map<std::string, std::string>& metadata, const std::string& key, T most,
                           const std::string& source) {
  const std::string text = entry(metadata, key);
  if (text.empty()) return {};
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  require(error == std::errc() && end == text.data() + text.size() && value >= T{0} && value <= most,
          "{}: {}: expected a number from 0 to {}, found '{}'", source, key, most, text);
  return value;
}

/// "32,32,3"
Shape image_of(const std::string& text, const std::string& source) {
  constexpr std::int64_t most = 65536;
  if (text.empty()) return {};
  std::vector<std::int64_t> dims;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (true) {
    std::int64_t& dim = dims.emplace_back();
    const auto parsed = std::from_chars(at, end, dim);
    const bool good = parsed.ec == std::errc() && dim >= 1 && dim <= most && dims.size() <= 3 &&
                      (parsed.ptr == end ? dims.size() == 3 : *parsed.ptr == ',');
    if (!good)
      fail("{}: image: expected the form 32,32,3 (height, width, channels), found '{}'", source, text);
    if (parsed.ptr == end) return Shape(dims);
    at = parsed.ptr + 1;
  }
}

}  // namespace

std::string list_to_json(const std::vector<std::string>& texts) {
  return json(texts).dump(-1, ' ', true, json::error_handler_t::replace);
}

std::vector<std::string> list_from_json(const std::string& text, const std::string& source) {
  const json list = parse_json_strictly(text, source);
  const bool good =
      list.is_array() && std::ranges::all_of(list, [](const json& item) { return item.is_string(); });
  if (!good) fail("{}: expected a list of texts, found {}", source, json_excerpt(list));
  return list.get<std::vector<std::string>>();
}

WeightsOrigin parse_origin(const std::map<std::string, std::string>& metadata, const std::string& source) {
  const std::string classes = entry(metadata, classes_key);
  WeightsOrigin origin{.model_name = entry(metadata, model_key),
                       .model_settings = entry(metadata, model_settings_key),
                       .dataset = entry(metadata, dataset_key),
                       .classes = classes.empty() || entry(metadata, dataset_key).empty()
                                      ? std::vector<std::string>()
                                      : list_from_json(classes, fmt::format("{}: {}", source, classes_key)),
                       .normalisation = entry(metadata, normalisation_key),
                       .head = entry(metadata, head_key),
                       .program = entry(metadata, program_key)};
  if (origin.program.empty())
    return origin;  // older, or of another program, which means others by these names
  origin.image = image_of(entry(metadata, image_key), source);
  origin.image_size = number_of<std::int64_t>(metadata, image_size_key, 4096, source).value_or(0);
  origin.method = entry(metadata, method_key);
  origin.teacher = entry(metadata, teacher_key);
  origin.epoch = number_of<std::int64_t>(metadata, epoch_key, std::int64_t{1} << 53, source).value_or(0);
  origin.top1 = number_of(metadata, top1_key, 100.0, source);
  origin.validation_top1 = number_of(metadata, validation_top1_key, 100.0, source);
  return origin;
}

WeightsOrigin read_origin(const fs::path& path) {
  return parse_origin(read_safetensors_metadata(path), path.string());
}

std::map<std::string, std::string> metadata_of(const WeightsOrigin& origin) {
  std::map<std::string, std::string> metadata{{model_key, origin.model_name},
                                              {dataset_key, origin.dataset},
                                              {classes_key, list_to_json(origin.classes)}};
  const auto add = [&](const char* key, const std::string& text) {
    if (!text.empty()) metadata.emplace(key, text);
  };
  add(model_settings_key, origin.model_settings);
  if (origin.image.rank() > 0) add(image_key, fmt::format("{}", fmt::join(origin.image.dims(), ",")));
  if (origin.image_size > 0) add(image_size_key, fmt::format("{}", origin.image_size));
  add(normalisation_key, origin.normalisation);
  add(head_key, origin.head);
  add(program_key, origin.program);
  add(method_key, origin.method);
  add(teacher_key, origin.teacher);
  if (origin.epoch > 0) add(epoch_key, fmt::format("{}", origin.epoch));
  if (origin.top1) add(top1_key, fmt::format("{:.4f}", *origin.top1));
  if (origin.validation_top1) add(validation_top1_key, fmt::format("{:.4f}", *origin.validation_top1));
  return metadata;
}

}  // namespace generous
