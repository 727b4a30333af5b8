#include "apps/training/weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/error.h"
#include "core/files.h"
#include "core/finite.h"
#include "core/hash.h"
#include "core/io/torch_checkpoint.h"
#include "core/json.h"
#include "data/dataset.h"
#include "nn/state_dict.h"

namespace generous {

namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr const char* model_key = "model_name";
constexpr const char* dataset_key = "dataset";
constexpr const char* classes_key = "classes";
constexpr const char* head_key = "head";
constexpr const char* normalisation_key = "normalisation";

bool is_dataset(const std::string& name) {
  const std::vector<std::string> names = dataset_names();
  return std::ranges::find(names, name) != names.end();
}

std::string hash_of(const NamedTensors& tensors) {
  Hash hash;
  for (const auto& [name, tensor] : tensors) {
    hash.add(fmt::format("{} {} {}", name, name_of(tensor.dtype()), tensor.shape().str()));
    hash.add({static_cast<const std::byte*>(tensor.raw()), tensor.bytes()});
  }
  return hash.hex();
}

/// The first place in which both, of equal size, differ.
std::size_t first_difference(const std::vector<std::string>& one, const std::vector<std::string>& other) {
  return static_cast<std::size_t>(std::ranges::mismatch(one, other).in1 - one.begin());
}

/// The part of `path` before its last component named "experiments", or nothing.
fs::path folder_with_experiments(const fs::path& path) {
  std::error_code ignored;  // without a current folder there is no folder to find either
  const fs::path whole = fs::absolute(path, ignored).lexically_normal();
  fs::path so_far;
  fs::path found;
  for (const fs::path& part : whole) {
    if (part == "experiments") found = so_far;
    so_far /= part;
  }
  return found;
}

/// Throws Error if outputs that stand for the classes `found` would be taken for others; a note if the names
/// alone do not tell.
std::string compare_classes(const std::vector<std::string>& found, const std::vector<std::string>& classes,
                            const std::string& source) {
  // Names that are not UTF-8 are in the file as list_to_json leaves them.
  const std::vector<std::string> expected = list_from_json(list_to_json(classes), source);
  if (found == expected || found.size() != expected.size()) return {};  // the number of outputs then differs
  const std::size_t first = first_difference(found, expected);
  if (std::ranges::is_permutation(found, expected))
    fail(
        "{}: its outputs stand for the dataset's classes in another order: output {} is '{}' there, and "
        "'{}' in the dataset; take weights that were trained on this order",
        source, first, found[first], expected[first]);
  return fmt::format(
      "{}: trained on classes of other names: output {} is '{}' there, and '{}' in the dataset", source,
      first, found[first], expected[first]);
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

void check_class_numbering(const std::string& dataset, bool has_class_names, const std::string& source) {
  if (dataset != "tiny_imagenet" || has_class_names) return;
  fail(
      "{} is from when the classes of tiny_imagenet were numbered in the order of wnids.txt; now they are in "
      "the order of their sorted ids, as for other programs, so its outputs would be taken for other "
      "classes: train it anew, in a new folder",
      source);
}

fs::path WeightFinder::find(const std::string& key, const std::string& path) const {
  fs::path wanted = path;
  const bool archive = wanted.extension() == ".tar";
  if (archive) wanted.replace_extension(".safetensors");
  std::vector<fs::path> places = {wanted};
  if (wanted.is_relative())
    if (const fs::path base = folder_with_experiments(save_path); !base.empty())
      places.push_back(base / wanted);
  for (const fs::path& place : places) {
    if (archive)
      if (const fs::path tar = fs::path(place).replace_extension(".tar"); file_exists(tar)) return tar;
    if (file_exists(place)) return place;
  }

  std::string message = fmt::format("{}: there is no file {}", key, places[0].string());
  if (places.size() > 1) message += fmt::format(" and no {}", places[1].string());
  const fs::path run = places.back().parent_path();
  if (wanted.stem() == "best_model" || wanted.stem() == "last_model")
    message += fmt::format("; train it first: {} --save_path {}", program_of_run(run), run.string());
  throw Error(message);
}

void write_weights(const fs::path& path, const NamedTensors& weights, const WeightsOrigin& origin) {
  std::map<std::string, std::string> metadata{{"format", "pt"},
                                              {model_key, origin.model_name},
                                              {dataset_key, origin.dataset},
                                              {classes_key, list_to_json(origin.classes)}};
  if (!origin.normalisation.empty()) metadata.emplace(normalisation_key, origin.normalisation);
  if (!origin.head.empty()) metadata.emplace(head_key, origin.head);
  write_safetensors(path, weights, metadata);
}

WeightsFile read_weights(const fs::path& path) {
  const std::string content = read_file(path);
  WeightsFile file{.source = path.string(), .content = {}, .head = {}};
  if (is_torch_checkpoint(content))
    file.content.tensors = parse_torch_checkpoint(content, file.source);
  else
    file.content = parse_safetensors(content, file.source);
  if (const auto head = file.content.metadata.find(head_key); head != file.content.metadata.end())
    file.head = head->second;
  return file;
}

std::string normalisation_of(const WeightsFile& file, std::int64_t channels) {
  const auto& metadata = file.content.metadata;
  const auto dataset = metadata.find(dataset_key);
  if (dataset == metadata.end()) return {};  // this program did not write it
  const auto text = metadata.find(normalisation_key);
  if (text == metadata.end())
    return is_dataset(dataset->second) ? to_text(dataset_info(dataset->second).normalisation, channels)
                                       : std::string();
  const auto parsed = parse_normalisation(text->second);
  require(parsed.has_value(), "{}: normalisation: expected the form 0.5,0.5,0.5/0.25,0.25,0.25, found '{}'",
          file.source, text->second);
  return to_text(parsed->values, parsed->channels);
}

namespace {

/// Throws Error for weights of a network that learned from images normalised in another way than `wanted`; ""
/// is any.
void check_normalisation(const WeightsFile& file, const std::string& wanted) {
  const std::optional<ParsedNormalisation> parsed = parse_normalisation(wanted);
  if (!parsed) return;
  const std::string found = normalisation_of(file, parsed->channels);
  if (found.empty() || found == wanted) return;
  fail(
      "{}: trained on images normalised by {} (means/standard deviations), here they are normalised by {}: "
      "give "
      "--normalisation {}, or other weights",
      file.source, found, wanted, found);
}

}  // namespace

LoadedWeights load_weights(Module& model, const WeightsFile& weights, const WeightsOrigin& wanted) {
  const SafetensorsFile& file = weights.content;
  const std::string& source = weights.source;
  LoadedWeights loaded{.hash = hash_of(file.tensors), .note = {}};
  const auto dataset = file.metadata.find(dataset_key);
  if (dataset != file.metadata.end() && !wanted.classes.empty()) {  // this program wrote it
    const auto names = file.metadata.find(classes_key);
    check_class_numbering(dataset->second, names != file.metadata.end(), source);
    if (names != file.metadata.end())
      loaded.note = compare_classes(list_from_json(names->second, fmt::format("{}: {}", source, classes_key)),
                                    wanted.classes, source);
  }
  require_finite(file.tensors, source);
  const auto held = file.metadata.find(model_key);
  if (held == file.metadata.end() || held->second == wanted.model_name) {
    load_state_dict(model, file.tensors, source);
    check_normalisation(weights, wanted.normalisation);
    return loaded;
  }
  std::string difference = "of the same names and shapes";
  try {
    load_state_dict(model, file.tensors, source);
  } catch (const Error& error) {
    difference = error.what();
  }
  fail("{} holds {}, you asked for {} ({})", source, held->second, wanted.model_name, difference);
}

}  // namespace generous
