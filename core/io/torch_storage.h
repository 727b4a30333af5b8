// The storages of a PyTorch checkpoint: runs of numbers that its tensors are views of.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/io/pickle.h"
#include "core/tensor.h"

namespace generous {

/// Which elements of a storage a tensor has: {i, j, ...} is at offset + i stride[0] + j stride[1] + ...
struct TorchView {
  std::int64_t offset = 0;
  std::vector<std::int64_t> size = {};
  std::vector<std::int64_t> stride = {};
};

/// The element type of a storage.
struct TorchStorageType {
  std::string_view name;  ///< torch.FloatStorage
  std::uint64_t bytes;    ///< of an element
  /// The elements of a view, whose places are known to be inside, as f32 or i64.
  Tensor (*gather)(std::string_view bytes, const TorchView& view);
};
/// nullptr for what is none.
const TorchStorageType* find_storage_type(std::string_view name);

class TorchStorages {
 public:
  /// The bytes of the storage of this key; throws Error if there is none.
  using Read = std::function<std::string(const std::string& key)>;

  /// `file_bytes` bounds what views may expand to.
  TorchStorages(std::uint64_t file_bytes, Read read);

  struct Storage {
    const TorchStorageType* type;
    std::string_view bytes;
  };
  /// The storage that a pickle names; it is read once. Throws Error, as the next, that begins with `where`
  /// for what makes no sense.
  Storage find(const PickleValue::Persistent& name, const std::string& where);
  /// A copy of a view, f32 or i64.
  Tensor view(const Storage& storage, const TorchView& view, const std::string& where);

 private:
  std::uint64_t elements_left_;
  Read read_;
  std::map<std::string, std::string> content_;
};

/// The storages that follow each other in `bytes`, in the order of `keys`, each behind the number of its
/// elements; their types are known from `pickle`, which names them.
TorchStorages storages_behind(std::string_view bytes, const PickleValue& keys, const Pickle& pickle,
                              const std::string& file);

}  // namespace generous
