// A checkpoint as torch.save wrote it before PyTorch 1.6, of tensors f32 and i64: {"epoch": 3, "state_dict":
// {...}}.
#pragma once

#include <string>

#include "core/safetensors.h"

namespace generous {

/// The file's content; `prefix` is put before every name.
inline std::string torch_stream(const NamedTensors& tensors, const std::string& prefix) {
  const auto number = [](auto value) {
    return std::string(reinterpret_cast<const char*>(&value), sizeof(value));
  };
  const auto text = [&](const std::string& value) {
    return "X" + number(static_cast<std::uint32_t>(value.size())) + value;
  };
  const auto integer = [&](std::int64_t value) { return "J" + number(static_cast<std::int32_t>(value)); };
  const std::string protocol = "\x80\x02";

  std::string entries;
  std::string keys;
  std::string storages;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const auto& [name, tensor] = tensors[i];
    const std::string type = tensor.dtype() == DType::f32 ? "FloatStorage" : "LongStorage";
    std::string sizes;
    std::string strides;
    std::int64_t stride = tensor.numel();
    for (const std::int64_t extent : tensor.shape().dims()) {
      stride /= extent;
      sizes += integer(extent);
      strides += integer(stride);
    }
    const std::string key = text(std::to_string(i));
    entries += text(prefix + name) + "ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") + "ctorch\n" +
               type + "\n" + key + text("cpu") + integer(tensor.numel()) + "NtQ" + integer(0) + "(" + sizes +
               "t(" + strides + "t\x89" + "ccollections\nOrderedDict\n)RtR";
    keys += key;
    storages += number(tensor.numel()) + std::string(static_cast<const char*>(tensor.raw()), tensor.bytes());
  }
  return protocol + "\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19." + protocol + "M\xe9\x03." + protocol +
         "}(" + text("little_endian") + "\x88u." + protocol + "}(" + text("epoch") + "K\x03" +
         text("state_dict") + "}(" + entries + "uu." + protocol + "](" + keys + "e." + storages;
}

}  // namespace generous
