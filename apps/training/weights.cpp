#include "apps/training/weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "core/error.h"
#include "core/files.h"
#include "core/finite.h"
#include "core/hash.h"
#include "core/io/torch_checkpoint.h"
#include "data/dataset.h"
#include "nn/state_dict.h"

namespace generous {

namespace {

namespace fs = std::filesystem;

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

void check_class_numbering(const std::string& dataset, bool has_class_names, const std::string& source) {
  if (dataset != "tiny_imagenet" || has_class_names) return;
  fail(
      "{} is from when the classes of tiny_imagenet were numbered in the order of wnids.txt; now they are in "
      "the order of their sorted ids, as for other programs, so its outputs would be taken for other "
      "classes: train it anew, in a new folder",
      source);
}

void write_weights(const fs::path& path, const NamedTensors& weights, const WeightsOrigin& origin) {
  std::map<std::string, std::string> metadata = metadata_of(origin);
  metadata.emplace("format", "pt");
  write_safetensors(path, weights, metadata);
}

WeightsFile read_weights(const fs::path& path) {
  const std::string content = read_file(path);
  WeightsFile file{.source = path.string(), .content = {}, .origin = {}};
  if (is_torch_checkpoint(content))
    file.content.tensors = parse_torch_checkpoint(content, file.source);
  else
    file.content = parse_safetensors(content, file.source);
  file.origin = parse_origin(file.content.metadata, file.source);
  return file;
}

std::string normalisation_of(const WeightsFile& file, std::int64_t channels) {
  const WeightsOrigin& origin = file.origin;
  if (origin.dataset.empty()) return {};  // this program did not write it
  if (origin.normalisation.empty())
    return is_dataset(origin.dataset) ? to_text(dataset_info(origin.dataset).normalisation, channels)
                                      : std::string();
  const auto parsed = parse_normalisation(origin.normalisation);
  require(parsed.has_value(), "{}: normalisation: expected the form 0.5,0.5,0.5/0.25,0.25,0.25, found '{}'",
          file.source, origin.normalisation);
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

/// Throws Error for weights of a network that learned from images of other channels than these; a note for
/// another size.
std::string compare_images(const WeightsFile& file, const Shape& image) {
  const Shape& found = file.origin.image;
  if (found.rank() == 0 || image.rank() == 0 || found == image) return {};
  require(found[2] == image[2], "{}: trained on images of {} channels, these have {}", file.source, found[2],
          image[2]);
  return fmt::format("{}: trained on images of {} x {}, these are {} x {}", file.source, found[0], found[1],
                     image[0], image[1]);
}

}  // namespace

LoadedWeights load_weights(Module& model, const WeightsFile& weights, const WeightsOrigin& wanted) {
  const SafetensorsFile& file = weights.content;
  const std::string& source = weights.source;
  LoadedWeights loaded{.hash = hash_of(file.tensors), .note = {}};
  const WeightsOrigin& origin = weights.origin;
  if (!origin.dataset.empty() && !wanted.classes.empty()) {  // this program wrote it
    check_class_numbering(origin.dataset, !origin.classes.empty(), source);
    if (!origin.classes.empty()) loaded.note = compare_classes(origin.classes, wanted.classes, source);
  }
  require_finite(file.tensors, source);
  if (origin.model_name.empty() || origin.model_name == wanted.model_name) {
    const std::string of_images = compare_images(weights, wanted.image);
    loaded.note += (loaded.note.empty() || of_images.empty() ? "" : "; ") + of_images;
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
  fail("{} holds {}, you asked for {} ({})", source, origin.model_name, wanted.model_name, difference);
}

}  // namespace generous
