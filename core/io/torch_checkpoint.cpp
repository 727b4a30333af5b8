#include "core/io/torch_checkpoint.h"

#include <Eigen/Core>
#include <algorithm>
#include <array>
#include <cstring>
#include <set>
#include <vector>

#include "core/io/pickle.h"
#include "core/io/torch_storage.h"
#include "core/io/zip.h"
#include "core/printable.h"

namespace generous {
namespace {

using Value = PickleValue;
using Global = PickleValue::Global;

constexpr std::string_view zip_signature = "PK\3\4";
/// A pickle of the number that torch.save began files with before it wrote archives.
constexpr std::string_view stream_magic("\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 10);
constexpr std::string_view stream_start("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 14);
constexpr std::int64_t stream_protocol = 1001;

/// The classes and functions of plain data. None of them is called: what matters is known by these names.
bool is_plain(const Global& global) {
  static const std::set<std::string> names = {
      "collections.OrderedDict",
      "torch._utils._rebuild_tensor",
      "torch._utils._rebuild_tensor_v2",
      "torch._utils._rebuild_parameter",
      "torch.Size",
      "torch.device",
      // Counters, accuracies and settings that lie beside the weights in published checkpoints.
      "argparse.Namespace",
      "collections.defaultdict",
      "numpy.core.multiarray.scalar",
      "numpy._core.multiarray.scalar",
      "numpy.dtype",
      "_codecs.encode",
      "builtins.int",
      "builtins.float",
      "builtins.list",
      "builtins.dict",
  };
  return names.contains(global.str()) || find_storage_type(global.str()) != nullptr;
}

const std::string* text(const Value& value) { return value.as<std::string>(); }

std::vector<std::int64_t> integers(const Value& value, const std::string& where) {
  const Value::Items* items = nullptr;
  if (const auto* tuple = value.as<Value::Tuple>()) items = &tuple->items;
  if (const auto* size = value.as<Value::Object>();
      size != nullptr && size->callable == Global{"torch", "Size"} && size->arguments.size() == 1)
    if (const auto* tuple = size->arguments[0]->as<Value::Tuple>()) items = &tuple->items;
  require(items != nullptr, "{}: damaged: a size that is no tuple", where);
  std::vector<std::int64_t> numbers;
  for (const Value* item : *items) {
    const auto* number = item->as<std::int64_t>();
    require(number != nullptr, "{}: damaged: a size that is no integer", where);
    numbers.push_back(*number);
  }
  return numbers;
}

/// The call that rebuilds a tensor, or nullptr for what is none. A parameter is a call with such a call.
const Value::Object* tensor_call(const Value& value) {
  const auto* object = value.as<Value::Object>();
  if (object == nullptr || object->callable.module != "torch._utils") return nullptr;
  if (object->callable.name != "_rebuild_parameter") return object;
  if (object->arguments.empty()) return nullptr;
  const auto* inner = object->arguments[0]->as<Value::Object>();
  return inner != nullptr && inner->callable.module == "torch._utils" &&
                 inner->callable.name != "_rebuild_parameter"
             ? inner
             : nullptr;
}

Tensor rebuild(const Value::Object& call, TorchStorages& storages, const std::string& where) {
  require(call.arguments.size() >= 4, "{}: damaged: a tensor without its size", where);
  const auto* storage = call.arguments[0]->as<Value::Persistent>();
  const auto* offset = call.arguments[1]->as<std::int64_t>();
  require(storage != nullptr && offset != nullptr, "{}: damaged: a tensor without its storage", where);
  return storages.view(storages.find(*storage, where),
                       {.offset = *offset,
                        .size = integers(*call.arguments[2], where),
                        .stride = integers(*call.arguments[3], where)},
                       where);
}

/// Whether all items are tensors, and there are some.
bool is_state_dict(const Value* value) {
  const Value::Dict* dict = value == nullptr ? nullptr : value->dict();
  return dict != nullptr && !dict->items.empty() && std::ranges::all_of(dict->items, [](const auto& item) {
           return text(*item.first) != nullptr && tensor_call(*item.second) != nullptr;
         });
}

/// The keys of a dictionary, for a message.
std::string key_list(const Value::Dict& dict) {
  constexpr std::size_t most = 8;
  std::string keys;
  for (std::size_t i = 0; i < std::min(most, dict.items.size()); ++i)
    if (const std::string* key = text(*dict.items[i].first))
      keys += (keys.empty() ? "" : ", ") + printable(key->substr(0, 60));
  return dict.items.size() > most ? keys + ", ..." : keys;
}

const Value::Dict& find_state_dict(const Value& root, const std::string& file) {
  if (is_state_dict(&root)) return *root.dict();
  const Value::Dict* dict = root.dict();
  require(dict != nullptr, "{}: holds no dictionary of tensors, but something else", file);
  for (const std::string_view name : {"state_dict", "model", "model_state_dict", "net"})
    for (const auto& [key, value] : dict->items)
      if (text(*key) != nullptr && *text(*key) == name && is_state_dict(value)) return *value->dict();
  fail(
      "{}: holds no state dict: expected tensors by name, or a dictionary of them called state_dict or "
      "model; its "
      "keys are: {}",
      file, key_list(*dict));
}

NamedTensors tensors_of(const Value& root, TorchStorages& storages, const std::string& file) {
  constexpr std::string_view parallel = "module.";
  const Value::Dict& dict = find_state_dict(root, file);
  const bool is_parallel = std::ranges::all_of(
      dict.items, [&](const auto& item) { return text(*item.first)->starts_with(parallel); });
  NamedTensors tensors;
  std::set<std::string_view> names;
  for (const auto& [key, value] : dict.items) {
    const std::string where = fmt::format("{}: tensor {}", file, printable(*text(*key)));
    require(names.insert(*text(*key)).second, "{}: there are two of this name", where);
    tensors.emplace_back(text(*key)->substr(is_parallel ? parallel.size() : 0),
                         rebuild(*tensor_call(*value), storages, where));
  }
  return tensors;
}

NamedTensors parse_archive(std::string_view content, const std::string& file) {
  const ZipFile archive(content, file);
  constexpr std::string_view pickle_name = "/data.pkl";
  std::string folder;  // whose name is the one that the file was saved under
  for (const auto& [name, entry] : archive.entries()) {
    if (name.ends_with(pickle_name)) folder = name.substr(0, name.size() - pickle_name.size());
    require(!name.ends_with("/constants.pkl"),
            "{}: a TorchScript program: save model.state_dict() in place of it", file);
  }
  require(!folder.empty(), "{}: a zip archive, but not one of torch.save: it has no data.pkl", file);
  if (const std::string order = folder + "/byteorder"; archive.entries().contains(order))
    require(archive.read(order) == "little", "{}: saved on a big-endian machine", file);
  const std::string data = archive.read(folder + "/data.pkl");
  const Pickle pickle(data, file, is_plain);
  TorchStorages storages(content.size(),
                         [&](const std::string& key) { return archive.read(folder + "/data/" + key); });
  return tensors_of(pickle.root(), storages, file);
}

NamedTensors parse_stream(std::string_view content, const std::string& file) {
  std::size_t position = 0;
  const auto next = [&] {
    Pickle pickle(content.substr(position), file, is_plain);
    position += pickle.size();
    return pickle;
  };
  const Pickle magic = next();
  require(text(magic.root()) != nullptr && *text(magic.root()) == stream_magic, "{}: not one of torch.save",
          file);
  const Pickle version = next();
  const auto* number = version.root().as<std::int64_t>();
  require(number != nullptr && *number == stream_protocol, "{}: of another version of torch.save than {}",
          file, stream_protocol);
  const Pickle system = next();
  if (const Value::Dict* facts = system.root().dict())
    for (const auto& [key, value] : facts->items)
      if (text(*key) != nullptr && *text(*key) == "little_endian")
        require(value->as<bool>() != nullptr && *value->as<bool>(), "{}: saved on a big-endian machine",
                file);
  const Pickle pickle = next();
  const Pickle keys = next();
  TorchStorages storages = storages_behind(content.substr(position), keys.root(), pickle, file);
  return tensors_of(pickle.root(), storages, file);
}

}  // namespace

bool is_torch_checkpoint(std::string_view content) {
  return content.starts_with(zip_signature) || content.starts_with(stream_start);
}

NamedTensors parse_torch_checkpoint(std::string_view content, const std::string& file) {
  return content.starts_with(zip_signature) ? parse_archive(content, file) : parse_stream(content, file);
}

}  // namespace generous
