#include "core/safetensors.h"

#include <Eigen/Core>
#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>

#include "core/files.h"
#include "core/json.h"

namespace generous {
namespace {

using nlohmann::json;

static_assert(std::endian::native == std::endian::little, "the format's numbers are little-endian");

constexpr std::uint64_t size_bytes = 8;  // of the header size that a file begins with
constexpr std::uint64_t max_header_bytes = 100'000'000;
constexpr std::string_view metadata_key = "__metadata__";

/// The elements of a file, Stored, as a tensor of Held, in which every value of Stored has its place.
template <class Stored, class Held>
Tensor load(std::string_view bytes, const Shape& shape) {
  Tensor tensor = Tensor::empty(shape, dtype_of<Held>);
  const auto held = tensor.data<Held>();
  for (std::size_t i = 0; i < held.size(); ++i) {
    Stored value;
    std::memcpy(&value, bytes.data() + i * sizeof(Stored), sizeof(Stored));  // need not be aligned
    held[i] = static_cast<Held>(value);
  }
  return tensor;
}

/// An element type of the format that a Tensor can hold.
struct ElementType {
  std::string_view name;
  std::int64_t bytes;
  Tensor (*load)(std::string_view bytes, const Shape& shape);
};

constexpr std::array element_types = {
    ElementType{"F32", 4, load<float, float>},
    ElementType{"BF16", 2, load<bfloat16, bfloat16>},
    ElementType{"F16", 2, load<Eigen::half, float>},
    ElementType{"I64", 8, load<std::int64_t, std::int64_t>},
    ElementType{"I32", 4, load<std::int32_t, std::int64_t>},
    ElementType{"U32", 4, load<std::uint32_t, std::int64_t>},
    ElementType{"I16", 2, load<std::int16_t, std::int64_t>},
    ElementType{"U16", 2, load<std::uint16_t, std::int64_t>},
    ElementType{"I8", 1, load<std::int8_t, std::int64_t>},
    ElementType{"BOOL", 1, load<std::uint8_t, std::int64_t>},
    ElementType{"U8", 1, load<std::uint8_t, std::uint8_t>},
};

/// Those whose values neither f32 nor i64 holds without change, or that are no whole bytes.
constexpr std::array<std::string_view, 11> lossy_types = {"F64",         "U64",     "C64",         "F8_E4M3",
                                                          "F8_E4M3FNUZ", "F8_E5M2", "F8_E5M2FNUZ", "F8_E8M0",
                                                          "F6_E2M3",     "F6_E3M2", "F4"};

std::string_view stored_name(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "F32";
    case DType::bf16:
      return "BF16";
    case DType::i64:
      return "I64";
    case DType::u8:
      return "U8";
  }
  fail("a tensor has an element type that the format does not know");
}

/// What the header says about one tensor. Bytes [begin, end) count from the end of the header.
struct Entry {
  std::string name;
  const ElementType* type;
  Shape shape;
  std::uint64_t begin;
  std::uint64_t end;
};

/// `where` begins every message: the file and the tensor. The same below.
const ElementType& parse_type(const std::string& where, const json& value) {
  if (!value.is_string()) fail("{}: \"dtype\" must be a string, not {}", where, json_excerpt(value));
  const auto& name = value.get_ref<const std::string&>();
  const auto found = std::ranges::find(element_types, name, &ElementType::name);
  if (found != element_types.end()) return *found;
  if (std::ranges::find(lossy_types, name) != lossy_types.end())
    fail("{}: dtype {} cannot be held without changing values; store it as F32, BF16, I64 or U8", where,
         name);
  fail("{}: dtype {} does not exist", where, json_excerpt(value));
}

Shape parse_shape(const std::string& where, const json& value) {
  if (!value.is_array()) fail("{}: \"shape\" must be a list, not {}", where, json_excerpt(value));
  if (value.size() > Shape::max_rank)
    fail("{}: shape {} has {} axes; at most {} are supported", where, json_excerpt(value), value.size(),
         Shape::max_rank);
  std::vector<std::int64_t> dims;
  std::int64_t numel = 1;
  for (const json& dim : value) {
    if (!dim.is_number_unsigned() || dim.get<std::uint64_t>() > std::numeric_limits<std::int64_t>::max())
      fail("{}: shape {} must consist of integers from 0 to 2^63 - 1", where, json_excerpt(value));
    dims.push_back(dim.get<std::int64_t>());
    if (__builtin_mul_overflow(numel, dims.back(), &numel))
      fail("{}: shape {} has more than 2^63 - 1 elements", where, json_excerpt(value));
  }
  return Shape(dims);
}

Entry parse_entry(const std::string& where, const std::string& name, const json& value) {
  if (!value.is_object()) fail("{}: must be an object, not {}", where, json_excerpt(value));
  static constexpr std::array<std::string_view, 3> keys = {"dtype", "shape", "data_offsets"};
  for (const auto& item : value.items()) {
    if (std::ranges::find(keys, item.key()) == keys.end())
      fail("{}: unknown key {}; the keys are dtype, shape and data_offsets", where, json_excerpt(item.key()));
  }
  for (const std::string_view key : keys)
    if (!value.contains(key)) fail("{}: the key \"{}\" is missing", where, key);

  const ElementType& type = parse_type(where, value["dtype"]);
  const Shape shape = parse_shape(where, value["shape"]);
  const json& offsets = value["data_offsets"];
  const auto is_offset = [](const json& offset) { return offset.is_number_unsigned(); };
  if (!offsets.is_array() || offsets.size() != 2 || !std::ranges::all_of(offsets, is_offset))
    fail("{}: \"data_offsets\" must be two non-negative integers, not {}", where, json_excerpt(offsets));
  const auto begin = offsets[0].get<std::uint64_t>();
  const auto end = offsets[1].get<std::uint64_t>();
  if (begin > end) fail("{}: data_offsets {} end before they begin", where, json_excerpt(offsets));
  std::int64_t bytes = 0;
  if (__builtin_mul_overflow(shape.numel(), type.bytes, &bytes))
    fail("{}: shape {} of {} has more than 2^63 - 1 bytes", where, shape.str(), type.name);
  if (end - begin != static_cast<std::uint64_t>(bytes))
    fail("{}: data_offsets {} span {} bytes, but shape {} of {} has {}", where, json_excerpt(offsets),
         end - begin, shape.str(), type.name, bytes);
  return {name, &type, shape, begin, end};
}

std::map<std::string, std::string> parse_metadata(const std::string& file, const json& value) {
  if (!value.is_object())
    fail("{}: \"{}\" must be an object, not {}", file, metadata_key, json_excerpt(value));
  std::map<std::string, std::string> metadata;
  for (const auto& item : value.items()) {
    if (!item.value().is_string())
      fail("{}: {} in \"{}\" must be a string, not {}", file, json_excerpt(item.key()), metadata_key,
           json_excerpt(item.value()));
    metadata.emplace(item.key(), item.value().get<std::string>());
  }
  return metadata;
}

std::string name_tensor(const std::string& file, const std::string& name) {
  return fmt::format("{}: tensor {}", file, json_excerpt(name));
}

/// The header's JSON text, once its size is known to be possible.
std::string_view header_of(const std::string& file, std::string_view content) {
  if (content.size() < size_bytes)
    fail("{} is not a safetensors file: it has {} bytes, fewer than the {} of a header size", file,
         content.size(), size_bytes);
  std::uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, content.data(), size_bytes);
  if (header_bytes > max_header_bytes)
    fail("{} is not a safetensors file: a header of {} bytes, more than the {} allowed", file, header_bytes,
         max_header_bytes);
  if (header_bytes > content.size() - size_bytes)
    fail("{} is truncated or not a safetensors file: a header of {} bytes, but {} bytes in the file", file,
         header_bytes, content.size());
  const std::string_view header = content.substr(size_bytes, header_bytes);
  if (!header.starts_with('{'))
    fail("{} is not a safetensors file: its header does not begin with '{{'", file);
  return header;
}

/// Throws Error unless the entries, sorted by their offsets, fill `data_bytes` without hole or overlap.
void check_layout(const std::string& file, const std::vector<Entry>& entries, std::uint64_t data_bytes) {
  std::uint64_t filled = 0;
  for (const Entry& entry : entries) {
    if (entry.begin != filled)
      fail("{} begins at byte {} of the data, but what is before it ends at byte {}: {}",
           name_tensor(file, entry.name), entry.begin, filled,
           entry.begin > filled ? "a hole" : "an overlap");
    filled = entry.end;
  }
  if (filled > data_bytes)
    fail("{} is truncated: {} bytes of data, but its tensors have {}", file, data_bytes, filled);
  if (filled < data_bytes)
    fail("{} is too long: {} bytes of data, but its tensors have {}", file, data_bytes, filled);
}

}  // namespace

SafetensorsFile read_safetensors(const std::filesystem::path& path) {
  return parse_safetensors(read_file(path), path.string());
}

std::map<std::string, std::string> read_safetensors_metadata(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return {};
  std::ifstream file(path, std::ios::binary);
  std::uint64_t header_bytes = 0;
  if (!file.read(reinterpret_cast<char*>(&header_bytes), size_bytes) || header_bytes > max_header_bytes ||
      header_bytes > std::filesystem::file_size(path, error))
    return {};
  std::string header(header_bytes, '\0');
  if (!file.read(header.data(), static_cast<std::streamsize>(header_bytes)) || !header.starts_with('{'))
    return {};
  try {
    const json parsed = parse_json_strictly(header, path.string());
    const auto found = parsed.find(metadata_key);
    return found == parsed.end() ? std::map<std::string, std::string>()
                                 : parse_metadata(path.string(), *found);
  } catch (const Error&) {
    return {};
  }
}

SafetensorsFile parse_safetensors(std::string_view content, const std::string& file) {
  const std::string_view header = header_of(file, content);
  const std::string_view data = content.substr(size_bytes + header.size());

  SafetensorsFile result;
  std::vector<Entry> entries;
  const json header_json = parse_json_strictly(header, file + ": header");
  for (const auto& item : header_json.items()) {
    if (item.key() == metadata_key) {
      result.metadata = parse_metadata(file, item.value());
    } else {
      entries.push_back(parse_entry(name_tensor(file, item.key()), item.key(), item.value()));
    }
  }
  std::ranges::stable_sort(entries, {}, [](const Entry& entry) { return std::pair(entry.begin, entry.end); });
  check_layout(file, entries, data.size());

  for (const Entry& entry : entries) {
    const std::string_view bytes = data.substr(entry.begin, entry.end - entry.begin);
    if (entry.type->name == "BOOL" && std::ranges::any_of(bytes, [](char c) { return c != 0 && c != 1; }))
      fail("{}: a BOOL that is neither 0 nor 1", name_tensor(file, entry.name));
    result.tensors.emplace_back(entry.name, entry.type->load(bytes, entry.shape));
  }
  return result;
}

void write_safetensors(const std::filesystem::path& path, const NamedTensors& tensors,
                       const std::map<std::string, std::string>& metadata) {
  const std::string file = path.string();
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header[std::string(metadata_key)] = metadata;
  std::set<std::string_view> names;
  std::vector<std::string_view> parts(2);  // the header and its size come first
  std::uint64_t data_bytes = 0;
  for (const auto& [name, tensor] : tensors) {
    const std::string where = "cannot write " + name_tensor(file, name);
    if (name.empty()) fail("{}: the name is empty", where);
    if (name == metadata_key) fail("{}: the name is reserved for the metadata", where);
    if (!names.insert(name).second) fail("{}: the name is used twice", where);
    if (!tensor.defined()) fail("{}: the tensor is undefined", where);
    if (tensor.device() != Device::cpu) fail("{}: the tensor is not on the host", where);
    const std::uint64_t begin = data_bytes;
    data_bytes += tensor.bytes();
    header[name] = {{"dtype", stored_name(tensor.dtype())},
                    {"shape", tensor.shape().dims()},
                    {"data_offsets", {begin, data_bytes}}};
    parts.emplace_back(static_cast<const char*>(tensor.raw()), tensor.bytes());
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const json::type_error&) {
    fail("cannot write {}: a tensor's name or the metadata is not UTF-8", file);
  }
  text.append((8 - text.size() % 8) % 8, ' ');
  if (text.size() > max_header_bytes)
    fail("cannot write {}: a header of {} bytes, more than the {} allowed", file, text.size(),
         max_header_bytes);
  std::array<char, size_bytes> header_bytes;
  const std::uint64_t text_bytes = text.size();
  std::memcpy(header_bytes.data(), &text_bytes, size_bytes);
  parts[0] = std::string_view(header_bytes.data(), size_bytes);
  parts[1] = text;
  write_file_atomically(path, parts);
}

}  // namespace generous
