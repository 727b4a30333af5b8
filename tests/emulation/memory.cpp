#include "memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace generous::emulation {
namespace {

constexpr std::size_t alignment = 256;
constexpr int poison = 0xFF;
constexpr std::size_t range = std::size_t{1} << 38;  // of addresses, not of memory

std::size_t page() {
  static const auto bytes = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  return bytes;
}

std::size_t round_up(std::size_t bytes, std::size_t unit) { return (bytes + unit - 1) / unit * unit; }

void* at(std::uintptr_t address) { return reinterpret_cast<void*>(address); }  // NOLINT: our own range

std::uintptr_t address_of(const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer); }

void protect(const Allocation& allocation, int protection) {
  if (mprotect(at(allocation.pages), allocation.pages_end - allocation.pages, protection) != 0)
    throw std::runtime_error("emulated device: mprotect failed");
}

/// The first byte is, and every other one equals the one before it: this is asked after every kernel.
bool is_poisoned(std::uintptr_t from, std::uintptr_t to) {
  const auto* bytes = static_cast<const unsigned char*>(at(from));
  return from == to || (bytes[0] == poison && std::memcmp(bytes, bytes + 1, to - from - 1) == 0);
}

}  // namespace

Memory::Memory() {
  void* reserved = mmap(nullptr, range, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (reserved == MAP_FAILED) throw std::runtime_error("emulated device: no range of addresses to be had");
  begin_ = address_of(reserved);
  end_ = begin_ + range;
  cursor_ = begin_ + page();  // a closed page before every allocation, also before the first
}

Memory::~Memory() { munmap(at(begin_), range); }

/// The next gap behind the one given out last, so that addresses come back as late as possible.
std::uintptr_t Memory::place(std::size_t bytes) {
  for (int turn = 0; turn < 2; ++turn) {
    std::uintptr_t from = cursor_;
    for (auto next = allocations_.lower_bound(from);; ++next) {
      const std::uintptr_t to = next == allocations_.end() ? end_ : next->first;
      if (to - from >= bytes) {
        cursor_ = from + bytes;
        return from;
      }
      if (next == allocations_.end()) break;
      from = next->second.pages_end + page();
    }
    cursor_ = begin_ + page();
  }
  return 0;
}

Allocation* Memory::allocate(std::size_t bytes, bool pinned) {
  if (bytes >= range) return nullptr;
  const std::size_t aligned = round_up(bytes, alignment);
  const std::size_t in_pages = round_up(aligned, page());
  const std::uintptr_t pages = place(in_pages + page());
  if (pages == 0) return nullptr;
  Allocation allocation{.base = pages + in_pages - aligned,
                        .bytes = bytes,
                        .pages = pages,
                        .pages_end = pages + in_pages,
                        .pinned = pinned};
  protect(allocation, PROT_READ | PROT_WRITE);
  std::memset(at(pages), poison, in_pages);
  if (!pinned) protect(allocation, PROT_NONE);
  return &(allocations_[pages] = allocation);
}

void Memory::free(const Allocation& allocation) {
  std::erase(opened_, &allocation);
  const std::size_t bytes = allocation.pages_end - allocation.pages;
  if (mmap(at(allocation.pages), bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED,
           -1, 0) == MAP_FAILED)
    throw std::runtime_error("emulated device: memory cannot be given back");
  const std::uintptr_t key = allocation.pages;  // `allocation` is what gets erased
  allocations_.erase(key);
}

Allocation* Memory::containing(const void* pointer, std::size_t bytes) {
  auto found = allocations_.upper_bound(address_of(pointer));
  if (found == allocations_.begin()) return nullptr;
  Allocation& allocation = std::prev(found)->second;
  const std::uintptr_t address = address_of(pointer);
  const std::uintptr_t end = allocation.base + allocation.bytes;
  return address >= allocation.base && address <= end && bytes <= end - address ? &allocation : nullptr;
}

Allocation* Memory::starting_at(const void* pointer) {
  Allocation* allocation = containing(pointer, 0);
  return allocation != nullptr && allocation->base == address_of(pointer) ? allocation : nullptr;
}

bool Memory::owns(const void* pointer) const {
  return address_of(pointer) >= begin_ && address_of(pointer) < end_;
}

std::string Memory::describe(const void* pointer) const {
  if (pointer == nullptr) return "a null pointer";
  if (!owns(pointer)) return "an address that is no memory of the device";
  const std::uintptr_t address = address_of(pointer);
  const auto next = allocations_.upper_bound(address);
  const auto named = [](const Allocation& allocation) {
    return std::string(allocation.pinned ? "pinned" : "device") + " memory of " +
           std::to_string(allocation.bytes) + " bytes";
  };
  if (next != allocations_.begin()) {
    const Allocation& before = std::prev(next)->second;
    const std::uintptr_t end = before.base + before.bytes;
    if (address >= before.base && address < end)
      return std::to_string(address - before.base) + " bytes into " + named(before) +
             (before.exists ? "" : ", before its allocation on the stream") +
             (locked_ ? ", between an exchange with other blocks and the next barrier" : "");
    if (address >= end && address < before.pages_end + page())
      return std::to_string(address - end) + " bytes behind " + named(before);
    if (address < before.base)
      return std::to_string(before.base - address) + " bytes before " + named(before);
  }
  if (next != allocations_.end() && next->second.base - address <= page())
    return std::to_string(next->second.base - address) + " bytes before " + named(next->second);
  return "memory that has been freed or never was allocated";
}

Usage Memory::usage(bool pinned) const {
  Usage usage;
  for (const auto& [pages, allocation] : allocations_)
    if (allocation.pinned == pinned) {
      ++usage.allocations;
      usage.bytes += allocation.bytes;
    }
  return usage;
}

bool Memory::open(const void* pointer) {
  if (locked_) return false;
  auto found = allocations_.upper_bound(address_of(pointer));
  if (found == allocations_.begin()) return false;
  Allocation& allocation = std::prev(found)->second;
  if (address_of(pointer) >= allocation.pages_end || !allocation.exists || allocation.open) return false;
  protect(allocation, PROT_READ | PROT_WRITE);
  allocation.open = true;
  opened_.push_back(&allocation);
  return true;
}

void Memory::lock() {
  if (!damage().empty()) return;  // that is asked for at the end of the kernel, of what is open
  close_all();
  locked_ = true;
}

void Memory::close_all() {
  for (Allocation* allocation : opened_) {
    allocation->open = false;
    protect(*allocation, PROT_NONE);
  }
  opened_.clear();
}

std::string Memory::damage() const {
  for (const Allocation* allocation : opened_) {
    const std::uintptr_t end = allocation->base + allocation->bytes;
    if (!is_poisoned(allocation->pages, allocation->base))
      return "wrote before device memory of " + std::to_string(allocation->bytes) + " bytes";
    if (!is_poisoned(end, allocation->pages_end))
      return "wrote behind device memory of " + std::to_string(allocation->bytes) + " bytes";
  }
  return "";
}

Memory& memory() {
  static Memory* const instance = new Memory;  // never destroyed: static objects may still hold memory
  return *instance;
}

}  // namespace generous::emulation
