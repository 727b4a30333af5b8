// How the memory of the emulated device is accounted for: what cudaMalloc took, and the pool of the
// stream-ordered allocations, which keeps what is freed for itself until somebody synchronises, beyond a
// threshold.
#pragma once

#include <cstddef>
#include <cstdint>

struct CUmemPoolHandle_st {
  std::size_t used = 0, most_used = 0;
  std::size_t reserved = 0, most_reserved = 0;
  std::uint64_t threshold = 0;
};

namespace generous::emulation {

class Budget {
 public:
  /// Whether the device has so many bytes left; if so, they are taken.
  bool take(std::size_t bytes);
  bool take_from_pool(std::size_t bytes);
  void give_back(std::size_t bytes) { taken_ -= rounded(bytes); }
  void give_back_to_pool(std::size_t bytes) { pool.used -= rounded(bytes); }
  /// Gives what the pool holds beyond what is used and `bytes_to_keep` back to the device.
  void trim_pool(std::size_t bytes_to_keep);
  std::size_t free() const;

  CUmemPoolHandle_st pool;

 private:
  static std::size_t rounded(std::size_t bytes) { return (bytes + 511) / 512 * 512; }

  std::size_t taken_ = 0;
};

Budget& budget();

}  // namespace generous::emulation
