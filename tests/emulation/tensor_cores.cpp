// The tensor cores' instructions, from PTX's documentation of ldmatrix and mma.m16n8k16.
#include "cuda/tensor_cores.h"

#include <cuda_runtime.h>

#include <array>
#include <bit>

namespace generous::emulation {
namespace {

constexpr unsigned all_lanes = 0xffffffffU;

constexpr std::size_t most_warps = 32;  // of a block

/// Calls use(brought) for what every lane of the warp brought, by its number. No lane goes on before all have
/// used it.
template <class T, class F>
void exchange_all(const char* function, const T& own, const Source& source, F&& use) {
  static std::array<std::array<T, 32>, most_warps> memory;
  std::array<T, 32>& brought = memory[threadIdx.x / 32];
  brought[static_cast<std::size_t>(lane())] = own;
  vote(function, all_lanes, false, source);
  use(brought);
  vote(function, all_lanes, false, source);
}

float value_of(std::uint32_t pair, int which) {
  return static_cast<float>(
      std::bit_cast<bfloat16>(static_cast<std::uint16_t>(which == 0 ? pair : pair >> 16)));
}

struct Factors {
  std::array<std::uint32_t, 4> a;
  std::array<std::uint32_t, 2> b;
};

}  // namespace

void load_matrices(bool transposed, const bfloat16* row, std::uint32_t (&to)[4]) {
  const Source source = Source::current();
  if (reinterpret_cast<std::uintptr_t>(row) % 16 != 0)
    refuse("ldmatrix", source, "a row does not begin at a multiple of 16 bytes");
  const auto group = static_cast<std::size_t>(lane()) / 4;
  const auto pair = static_cast<std::size_t>(lane()) % 4 * 2;
  exchange_all("ldmatrix", row, source, [&](const auto& rows) {
    for (std::size_t matrix = 0; matrix < 4; ++matrix) {
      const bfloat16* const* const of_matrix = &rows[matrix * 8];
      const auto element = [&](std::size_t i) {
        return std::uint32_t{(transposed ? of_matrix[pair + i][group] : of_matrix[group][pair + i]).bits};
      };
      to[matrix] = element(0) | element(1) << 16;
    }
  });
}

void multiply_add(const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], float (&sums)[4]) {
  const Factors own{{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
  const int group = lane() / 4;
  exchange_all("mma", own, Source::current(), [&](const auto& all) {
    for (int i = 0; i < 4; ++i) {
      const int column = lane() % 4 * 2 + i % 2;
      for (int k = 0; k < 16; ++k) {
        const auto of_line = [&](int line) -> const Factors& {
          return all[static_cast<std::size_t>(line * 4 + k % 8 / 2)];
        };
        const std::uint32_t left = of_line(group).a[static_cast<std::size_t>(k / 8 * 2 + i / 2)];
        const std::uint32_t right = of_line(column).b[static_cast<std::size_t>(k / 8)];
        sums[i] += value_of(left, k % 2) * value_of(right, k % 2);
      }
    }
  });
}

}  // namespace generous::emulation
