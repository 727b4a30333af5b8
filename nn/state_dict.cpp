#include "nn/state_dict.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <set>
#include <span>

#include "core/backend.h"

namespace generous {
namespace {

/// x {A, B, C} -> {A, C, B}: every layout conversion is this one, of images or weights {A, H*W, C}.
Tensor swap_last_two(const Tensor& x, std::int64_t b, std::int64_t c) {
  Tensor y = Tensor::empty(x.shape());
  const auto from = x.data<float>();
  const auto to = y.data<float>();
  const std::int64_t block = b * c;
  for (std::int64_t start = 0; start < x.numel(); start += block)
    for (std::int64_t i = 0; i < b; ++i)
      for (std::int64_t j = 0; j < c; ++j)
        to[static_cast<std::size_t>(start + j * b + i)] = from[static_cast<std::size_t>(start + i * c + j)];
  return y;
}

/// A host copy, or the tensor itself if it is on the host; no history.
Tensor on_host(const Tensor& x) { return x.to(Device::cpu).detach(); }

/// The shape that a tensor of shape `memory` has on disk.
Shape disk_shape(const Shape& memory, const DiskLayout& layout) {
  if (layout.kind != DiskLayout::Kind::ohwi) return memory;
  return {memory[0], memory[3], memory[1], memory[2]};
}

/// "a, b, c and 4 more"
std::string first_few(const std::vector<std::string>& items) {
  constexpr std::size_t shown = 5;
  const auto head = std::span(items).first(std::min(shown, items.size()));
  std::string text = fmt::format("{}", fmt::join(head, ", "));
  if (items.size() > shown) text += fmt::format(" and {} more", items.size() - shown);
  return text;
}

/// "conv1.weight is f32 {16, 3, 5, 5}, expected f32 {16, 3, 3, 3}", or nothing if it is as expected.
std::string difference(const StateEntry& entry, const Tensor& found) {
  const Shape wanted = disk_shape(entry.tensor.shape(), entry.layout);
  const DType dtype = entry.tensor.dtype();
  if (found.shape() == wanted && found.dtype() == dtype) return {};
  return fmt::format("{} is {} {}, expected {} {}", entry.name, name_of(found.dtype()), found.shape().str(),
                     name_of(dtype), wanted.str());
}

/// Throws Error that lists every kind of difference between the entries and what the file has.
void check_matches(const std::vector<StateEntry>& entries, const std::map<std::string, Tensor>& found,
                   const std::string& source) {
  std::vector<std::string> missing;
  std::vector<std::string> different;
  std::set<std::string> known;
  for (const StateEntry& entry : entries) {
    known.insert(entry.name);
    const auto it = found.find(entry.name);
    if (it == found.end()) {
      missing.push_back(entry.name);
    } else if (std::string text = difference(entry, it->second); !text.empty()) {
      different.push_back(std::move(text));
    }
  }
  std::vector<std::string> unexpected;
  for (const auto& [name, tensor] : found)
    if (!known.contains(name)) unexpected.push_back(name);

  std::string complaint;
  if (!missing.empty()) complaint += "; missing: " + first_few(missing);
  if (!unexpected.empty()) complaint += "; unexpected: " + first_few(unexpected);
  if (!different.empty()) complaint += "; different: " + first_few(different);
  if (!complaint.empty()) fail("{}: not the expected tensors{}", source, complaint);
}

}  // namespace

NamedTensors state_dict(const Module& module) { return state_dict(module.state()); }

NamedTensors state_dict(const std::vector<StateEntry>& entries) {
  NamedTensors tensors;
  for (const StateEntry& entry : entries)
    tensors.emplace_back(entry.name, to_disk_layout(entry.tensor, entry.layout));
  return tensors;
}

bool have_same_form(const std::vector<StateEntry>& entries, const NamedTensors& tensors) {
  const std::map<std::string, Tensor> found(tensors.begin(), tensors.end());
  return entries.size() == found.size() && std::ranges::all_of(entries, [&](const StateEntry& entry) {
           const auto it = found.find(entry.name);
           return it != found.end() && difference(entry, it->second).empty();
         });
}

void load_state_dict(Module& module, const NamedTensors& tensors, const std::string& source) {
  require(!module.frozen(), "{}: the weights of a frozen model cannot change: load them before freeze()",
          source);
  load_state_dict(module.state(), tensors, source);
}

void load_state_dict(const std::vector<StateEntry>& entries, const NamedTensors& tensors,
                     const std::string& source) {
  const std::map<std::string, Tensor> found(tensors.begin(), tensors.end());
  check_matches(entries, found, source);
  for (const StateEntry& entry : entries) {
    const Tensor values = from_disk_layout(found.at(entry.name), entry.layout);
    Tensor target = entry.tensor;
    backend(target.device()).copy_from_host(values.raw(), target);
  }
}

Tensor to_disk_layout(const Tensor& tensor, const DiskLayout& layout) {
  const Tensor host = on_host(tensor);
  switch (layout.kind) {
    case DiskLayout::Kind::same:
      return host.clone();
    case DiskLayout::Kind::ohwi:
      return swap_last_two(host, host.size(1) * host.size(2), host.size(3))
          .view(disk_shape(host.shape(), layout));
    case DiskLayout::Kind::flattened_hwc:
      return swap_last_two(host, layout.image[0] * layout.image[1], layout.image[2]);
  }
  fail("to_disk_layout: unknown layout");
}

Tensor from_disk_layout(const Tensor& tensor, const DiskLayout& layout) {
  const Tensor host = on_host(tensor);
  switch (layout.kind) {
    case DiskLayout::Kind::same:
      return host.clone();
    case DiskLayout::Kind::ohwi:
      return swap_last_two(host, host.size(1), host.size(2) * host.size(3))
          .view({host.size(0), host.size(2), host.size(3), host.size(1)});
    case DiskLayout::Kind::flattened_hwc:
      return swap_last_two(host, layout.image[2], layout.image[0] * layout.image[1]);
  }
  fail("from_disk_layout: unknown layout");
}

Tensor nhwc_to_nchw(const Tensor& images) { return to_disk_layout(images, DiskLayout::ohwi()); }

Tensor nchw_to_nhwc(const Tensor& images) { return from_disk_layout(images, DiskLayout::ohwi()); }

}  // namespace generous
