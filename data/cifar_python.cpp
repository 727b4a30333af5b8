// CIFAR as Python's pickles of dictionaries with a NumPy array, read as data.
#include <algorithm>

#include "core/error.h"
#include "core/files.h"
#include "core/io/pickle.h"
#include "data/folder.h"
#include "data/formats.h"

namespace generous {

namespace fs = std::filesystem;

namespace {

using Value = PickleValue;

constexpr std::size_t max_file_bytes = std::size_t{1} << 28;
constexpr std::int64_t image_bytes = 3072;

bool is_array_or_data(const Value::Global& global) {
  for (const char* name : {"numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct",
                           "numpy.ndarray", "numpy.dtype", "_codecs.encode"})
    if (global.str() == name) return true;
  return false;
}

/// A dictionary's value by its key; throws Error if it is not there.
const Value& entry(const Pickle& pickle, const std::string& key, const std::string& file) {
  const Value::Dict* dict = pickle.root().dict();
  require(dict != nullptr, "{}: holds no dictionary, but something else", file);
  for (const auto& [name, value] : dict->items)
    if (const auto* text = name->as<std::string>(); text != nullptr && *text == key) return *value;
  fail("{}: has no '{}', expected a dictionary of CIFAR's version for Python", file, key);
}

const Value::Items& list_of(const Value& value, const std::string& where) {
  const auto* list = value.as<Value::List>();
  require(list != nullptr, "{}: is no list", where);
  return list->items;
}

/// The bytes of a NumPy array u1 {records, 3072}. Its state is (version, shape, dtype, order, bytes).
std::string_view bytes_of(const Value& value, std::int64_t records, const std::string& where) {
  const auto* array = value.as<Value::Object>();
  const auto* state =
      array == nullptr || array->state == nullptr ? nullptr : array->state->as<Value::Tuple>();
  require(state != nullptr && state->items.size() == 5, "{}: is no array of NumPy", where);
  const auto* shape = state->items[1]->as<Value::Tuple>();
  const auto* dtype = state->items[2]->as<Value::Object>();
  const auto* by_columns = state->items[3]->as<bool>();
  const auto* bytes = state->items[4]->as<std::string>();
  require(shape != nullptr && shape->items.size() == 2 && dtype != nullptr && !dtype->arguments.empty() &&
              by_columns != nullptr && bytes != nullptr,
          "{}: is no array of two axes", where);
  const auto* rows = shape->items[0]->as<std::int64_t>();
  const auto* columns = shape->items[1]->as<std::int64_t>();
  const auto* type = dtype->arguments[0]->as<std::string>();
  require(rows != nullptr && columns != nullptr && *rows == records && *columns == image_bytes &&
              !*by_columns && type != nullptr && *type == "u1" && std::ssize(*bytes) == records * image_bytes,
          "{}: is another array than u1 {{{}, {}}} row by row", where, records, image_bytes);
  return *bytes;
}

Pickle read_pickle(const fs::path& path, const CifarFormat& format) {
  const std::string content = read_file(require_exists(path, format.dataset), max_file_bytes);
  return Pickle(content, path.string(), is_array_or_data);
}

std::vector<std::string> read_names(const CifarFormat& format, const fs::path& root) {
  const fs::path path = root / format.python_names_file;
  const Pickle pickle = read_pickle(path, format);
  const std::string file = path.string();
  const std::string where = fmt::format("{}: '{}'", file, format.names_key);
  std::vector<std::string> names;
  for (const Value* item : list_of(entry(pickle, format.names_key, file), where)) {
    const auto* name = item->as<std::string>();
    require(name != nullptr, "{}: holds what is no text", where);
    names.push_back(*name);
  }
  require(std::ssize(names) == format.label_bounds.back(), "{}: found {} class names, expected {}", where,
          names.size(), format.label_bounds.back());
  return names;
}

/// Appends one file's `records` images and labels.
void read_records(const CifarFormat& format, const fs::path& path, std::int64_t records,
                  std::span<std::uint8_t> images, std::vector<std::int64_t>& labels) {
  const Pickle pickle = read_pickle(path, format);
  const std::string file = path.string();
  const std::string where = fmt::format("{}: '{}'", file, format.labels_key);
  const Value::Items& found = list_of(entry(pickle, format.labels_key, file), where);
  require(std::ssize(found) == records, "{}: found {} labels, expected {}", where, found.size(), records);
  for (const Value* item : found) {
    const auto* label = item->as<std::int64_t>();
    require(label != nullptr && *label >= 0 && *label < format.label_bounds.back(),
            "{}: found a label that is none of 0 to {}", where, format.label_bounds.back() - 1);
    labels.push_back(*label);
  }
  cifar_planes_to_pixels(bytes_of(entry(pickle, "data", file), records, file + ": 'data'"), images);
}

}  // namespace

std::optional<fs::path> find_cifar_python(const CifarFormat& format, const fs::path& folder) {
  for (const fs::path& root : {folder / format.python_folder, folder})
    if (file_exists(root / format.python_names_file) && file_exists(root / format.python_test_file))
      return root;
  return {};
}

Dataset load_cifar_python(const CifarFormat& format, const fs::path& root, Split split) {
  const bool train = split == Split::train;
  const std::vector<std::string> files =
      train ? format.python_train_files : std::vector{format.python_test_file};
  const std::int64_t records = train ? format.train_records : format.test_records;
  Dataset dataset;
  dataset.classes = read_names(format, root);
  dataset.images = Tensor::empty({std::ssize(files) * records, 32, 32, 3}, DType::u8);
  std::span<std::uint8_t> images = dataset.images.data<std::uint8_t>();
  const auto size = static_cast<std::size_t>(records * image_bytes);
  for (std::size_t i = 0; i < files.size(); ++i)
    read_records(format, root / files[i], records, images.subspan(i * size, size), dataset.labels);
  return dataset;
}

}  // namespace generous
