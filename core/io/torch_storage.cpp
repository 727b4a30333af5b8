#include "core/io/torch_storage.h"

#include <Eigen/Core>
#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <utility>

#include "core/error.h"
#include "core/printable.h"

namespace generous {
namespace {

using Value = PickleValue;

/// Elements of type Stored as a tensor of Held.
template <class Stored, class Held>
Tensor gather(std::string_view bytes, const TorchView& view) {
  Tensor tensor = Tensor::empty(Shape(view.size), dtype_of<Held>);
  std::vector<std::int64_t> index(view.size.size(), 0);
  std::int64_t place = view.offset;
  for (Held& held : tensor.data<Held>()) {
    Stored stored;
    std::memcpy(&stored, bytes.data() + static_cast<std::size_t>(place) * sizeof(Stored), sizeof(Stored));
    held = static_cast<Held>(stored);
    for (std::size_t axis = index.size(); axis-- > 0;) {  // the next element: the last axis moves fastest
      place += view.stride[axis];
      if (++index[axis] < view.size[axis]) break;
      place -= view.stride[axis] * index[axis];
      index[axis] = 0;
    }
  }
  return tensor;
}

constexpr std::array types = {
    TorchStorageType{"torch.FloatStorage", 4, gather<float, float>},
    TorchStorageType{"torch.DoubleStorage", 8, gather<double, float>},
    TorchStorageType{"torch.HalfStorage", 2, gather<Eigen::half, float>},
    TorchStorageType{"torch.BFloat16Storage", 2, gather<bfloat16, float>},
    TorchStorageType{"torch.LongStorage", 8, gather<std::int64_t, std::int64_t>},
    TorchStorageType{"torch.IntStorage", 4, gather<std::int32_t, std::int64_t>},
    TorchStorageType{"torch.ShortStorage", 2, gather<std::int16_t, std::int64_t>},
    TorchStorageType{"torch.CharStorage", 1, gather<std::int8_t, std::int64_t>},
    TorchStorageType{"torch.ByteStorage", 1, gather<std::uint8_t, std::int64_t>},
    TorchStorageType{"torch.BoolStorage", 1, gather<std::uint8_t, std::int64_t>},
};

/// What a pickle says of a storage: ("storage", type, key, device, elements), and before archives a sixth:
/// None, or (key, offset, elements) of the part that is meant.
struct StorageName {
  const TorchStorageType* type;
  std::string key;
  std::int64_t elements;
  std::int64_t part_offset = 0;
  std::int64_t part_elements = 0;
};

StorageName parse_name(const Value::Persistent& name, const std::string& where) {
  const auto* tuple = name.id->as<Value::Tuple>();
  const auto damaged = [&] { fail("{}: damaged: the name of its storage makes no sense", where); };
  if (tuple == nullptr || tuple->items.size() < 5 || tuple->items.size() > 6) damaged();
  const auto* kind = tuple->items[0]->as<std::string>();
  const auto* type = tuple->items[1]->as<Value::Global>();
  const auto* key = tuple->items[2]->as<std::string>();
  const auto* elements = tuple->items[4]->as<std::int64_t>();
  if (kind == nullptr || *kind != "storage" || type == nullptr || key == nullptr || elements == nullptr)
    damaged();
  const TorchStorageType* known = find_storage_type(type->str());
  if (known == nullptr) damaged();
  StorageName parsed{.type = known, .key = *key, .elements = *elements, .part_elements = *elements};
  if (tuple->items.size() == 6 && tuple->items[5]->as<Value::None>() == nullptr) {
    const auto* part = tuple->items[5]->as<Value::Tuple>();
    if (part == nullptr || part->items.size() != 3) damaged();
    const auto* offset = part->items[1]->as<std::int64_t>();
    const auto* count = part->items[2]->as<std::int64_t>();
    if (offset == nullptr || count == nullptr || *offset < 0 || *count < 0 || *offset > *elements ||
        *count > *elements - *offset)
      damaged();
    parsed.part_offset = *offset;
    parsed.part_elements = *count;
  }
  return parsed;
}

/// a b, or nothing where that is too large or negative.
std::optional<std::int64_t> product(std::int64_t a, std::int64_t b) {
  std::int64_t result = 0;
  if (a < 0 || b < 0 || __builtin_mul_overflow(a, b, &result)) return std::nullopt;
  return result;
}

}  // namespace

const TorchStorageType* find_storage_type(std::string_view name) {
  const auto* found = std::ranges::find(types, name, &TorchStorageType::name);
  return found == types.end() ? nullptr : found;
}

TorchStorages::TorchStorages(std::uint64_t file_bytes, Read read)
    : elements_left_(4 * file_bytes + (std::uint64_t{1} << 24)), read_(std::move(read)) {}

TorchStorages::Storage TorchStorages::find(const Value::Persistent& name, const std::string& where) {
  const StorageName wanted = parse_name(name, where);
  auto content = content_.find(wanted.key);
  if (content == content_.end()) content = content_.emplace(wanted.key, read_(wanted.key)).first;
  const std::string_view bytes = content->second;
  if (wanted.elements < 0 || bytes.size() % wanted.type->bytes != 0 ||
      bytes.size() / wanted.type->bytes != static_cast<std::uint64_t>(wanted.elements))
    fail("{}: damaged: its storage has {} bytes, expected {} elements of {}", where, bytes.size(),
         wanted.elements, wanted.type->name);
  return {.type = wanted.type,
          .bytes = bytes.substr(static_cast<std::uint64_t>(wanted.part_offset) * wanted.type->bytes,
                                static_cast<std::uint64_t>(wanted.part_elements) * wanted.type->bytes)};
}

Tensor TorchStorages::view(const Storage& storage, const TorchView& view, const std::string& where) {
  const auto damaged = [&] { fail("{}: damaged: its size or strides lie outside its storage", where); };
  require(view.size.size() <= Shape::max_rank, "{}: has {} axes; at most {} are supported", where,
          view.size.size(), Shape::max_rank);
  if (view.size.size() != view.stride.size() || view.offset < 0) damaged();
  std::int64_t count = 1;
  std::int64_t last = view.offset;
  for (std::size_t axis = 0; axis < view.size.size(); ++axis) {
    const auto more = product(count, view.size[axis]);
    const auto step = view.size[axis] == 0 ? 0 : product(view.size[axis] - 1, view.stride[axis]);
    if (!more || !step || __builtin_add_overflow(last, *step, &last)) damaged();
    count = *more;
  }
  if (count > 0 && static_cast<std::uint64_t>(last) >= storage.bytes.size() / storage.type->bytes) damaged();
  if (static_cast<std::uint64_t>(count) > elements_left_)
    fail("{}: its tensors expand to many times the file's size", where);
  elements_left_ -= static_cast<std::uint64_t>(count);
  return storage.type->gather(storage.bytes, view);
}

TorchStorages storages_behind(std::string_view bytes, const Value& keys, const Pickle& pickle,
                              const std::string& file) {
  std::map<std::string, std::uint64_t> element_bytes;
  for (const Value& value : pickle.values())
    if (const auto* name = value.as<Value::Persistent>()) {
      const StorageName storage = parse_name(*name, file);
      element_bytes[storage.key] = storage.type->bytes;
    }
  const auto* list = keys.as<Value::List>();
  require(list != nullptr, "{}: damaged: the list of its storages is none", file);
  std::map<std::string, std::string> contents;
  const std::uint64_t file_bytes = bytes.size();
  for (const Value* item : list->items) {
    const auto* key = item->as<std::string>();
    const auto known = key == nullptr ? element_bytes.end() : element_bytes.find(*key);
    require(known != element_bytes.end(), "{}: damaged: it lists a storage that no tensor has", file);
    std::uint64_t count = 0;
    require(bytes.size() >= sizeof(count), "{}: damaged: it ends early", file);
    std::memcpy(&count, bytes.data(), sizeof(count));
    bytes.remove_prefix(sizeof(count));
    require(count <= bytes.size() / known->second, "{}: damaged: it ends early", file);
    contents.insert_or_assign(*key, std::string(bytes.substr(0, count * known->second)));
    bytes.remove_prefix(count * known->second);
  }
  require(bytes.empty(), "{}: damaged: {} bytes behind its last storage", file, bytes.size());
  return {file_bytes, [contents = std::move(contents), file](const std::string& key) {
            const auto found = contents.find(key);
            require(found != contents.end(), "{}: damaged: storage {} is missing", file, printable(key));
            return found->second;
          }};
}

}  // namespace generous
