#include "core/free_ranges.h"

#include <cstdint>
#include <iterator>

namespace generous {

void FreeRanges::add(MemoryRange range) {
  if (range.bytes == 0) return;
  const auto next = by_address_.lower_bound(range.begin);
  if (next != by_address_.begin()) {
    const auto previous = std::prev(next);
    if (previous->first + previous->second == range.begin) {
      range = {previous->first, previous->second + range.bytes};
      remove(previous);
    }
  }
  if (next != by_address_.end() && range.begin + range.bytes == next->first) {
    range.bytes += next->second;
    remove(next);
  }
  by_address_.emplace(range.begin, range.bytes);
  by_size_.emplace(range.bytes, range.begin);
}

std::byte* FreeRanges::take(std::size_t bytes) {
  const auto smallest = by_size_.lower_bound({bytes, nullptr});
  if (smallest == by_size_.end()) return nullptr;
  const auto [size, begin] = *smallest;
  remove(by_address_.find(begin));
  add({begin + bytes, size - bytes});
  return begin;
}

std::vector<MemoryRange> FreeRanges::take_pages(std::size_t page_bytes) {
  std::vector<MemoryRange> pages;
  const FreeRanges all = std::move(*this);
  *this = {};
  for (const auto& [begin, bytes] : all.by_address_) {
    const std::size_t lead = (page_bytes - reinterpret_cast<std::uintptr_t>(begin) % page_bytes) % page_bytes;
    const std::size_t whole = bytes > lead ? (bytes - lead) / page_bytes * page_bytes : 0;
    if (whole == 0) {
      add({begin, bytes});
      continue;
    }
    pages.push_back({begin + lead, whole});
    add({begin, lead});
    add({begin + lead + whole, bytes - lead - whole});
  }
  return pages;
}

void FreeRanges::remove(ByAddress::iterator range) {
  by_size_.erase({range->second, range->first});
  by_address_.erase(range);
}

}  // namespace generous
