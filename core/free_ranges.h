// Free memory by address: neighbours are one range, and a block is cut from the smallest that holds it.
#pragma once

#include <cstddef>
#include <map>
#include <set>
#include <utility>
#include <vector>

namespace generous {

struct MemoryRange {
  std::byte* begin = nullptr;
  std::size_t bytes = 0;
};

/// Knows addresses alone: touches no memory.
class FreeRanges {
 public:
  /// `range`, no part of which is free yet, becomes so.
  void add(MemoryRange range);
  /// The beginning of the smallest free range of at least `bytes`, of equals that of the lowest address, no
  /// longer free; nullptr where there is none.
  std::byte* take(std::size_t bytes);
  /// All whole pages of `page_bytes` that are free, no longer so; what is left of their ranges stays.
  std::vector<MemoryRange> take_pages(std::size_t page_bytes);

 private:
  using ByAddress = std::map<std::byte*, std::size_t>;
  void remove(ByAddress::iterator range);

  ByAddress by_address_;
  std::set<std::pair<std::size_t, std::byte*>> by_size_;
};

}  // namespace generous
