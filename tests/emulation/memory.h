// The memory of the emulated device and the pinned memory of the host: ranges of addresses of their own. The
// host cannot touch device memory; what runs as device work can, through Opened. Addresses of freed memory
// stay closed until the whole range has been used up.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "emulation.h"

namespace generous::emulation {

struct Allocation {
  std::uintptr_t base = 0;
  std::size_t bytes = 0;
  std::uintptr_t pages = 0, pages_end = 0;  ///< the allocation ends in its last page; a closed page follows
  bool pinned = false;
  bool from_pool = false;
  bool exists = true;    ///< false before the stream gets to the allocation
  bool freeing = false;  ///< work that will free it is on a stream
  bool open = false;
};

class Memory {
 public:
  Memory();
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  /// Filled with 0xFF: NaN as f32 and bf16. Null if the range of addresses is used up.
  Allocation* allocate(std::size_t bytes, bool pinned);
  void free(const Allocation& allocation);
  /// The allocation that starts at `pointer`, or null.
  Allocation* starting_at(const void* pointer);
  /// The one that [pointer, pointer + bytes) lies in, or null.
  Allocation* containing(const void* pointer, std::size_t bytes = 1);
  /// Whether the address is one that this class gives out, now or at another time.
  bool owns(const void* pointer) const;
  /// Where the address is, for people: "3 bytes behind device memory of 40 bytes".
  std::string describe(const void* pointer) const;
  Usage usage(bool pinned) const;

  /// Opens the allocation of device memory at `pointer`, if there is one. Called when it is touched.
  bool open(const void* pointer);
  void close_all();
  /// Closes all, and opens nothing until unlock().
  void lock();
  void unlock() { locked_ = false; }
  /// Whether somebody wrote beside an open allocation, into its pages; says where.
  std::string damage() const;

 private:
  std::uintptr_t place(std::size_t bytes);

  std::uintptr_t begin_ = 0, end_ = 0;
  std::uintptr_t cursor_ = 0;
  std::map<std::uintptr_t, Allocation> allocations_;  ///< by the first page
  std::vector<Allocation*> opened_;
  bool locked_ = false;
};

Memory& memory();

}  // namespace generous::emulation
