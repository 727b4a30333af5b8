// Matrix products of a warp on the tensor cores: PTX's ldmatrix and mma.m16n8k16 for bfloat16 with sums in
// f32. A matrix lies in the warp's lanes, each of which has some of its elements: lane l, with g = l / 4 and
// t = l % 4, has of 8x8 elements those of row g in columns 2t and 2t + 1, in one register.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "core/dtype.h"

#ifndef __CUDACC__
namespace generous::emulation {

// What stands in for the instructions where there is no GPU.
void load_matrices(bool transposed, const bfloat16* row, std::uint32_t (&to)[4]);
void multiply_add(const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], float (&sums)[4]);

}  // namespace generous::emulation
#endif

namespace generous::cuda {

/// Four matrices of 8x8.
struct Matrices {
  std::uint32_t parts[4];
};

/// Loads four matrices from the block's memory: lane l says where row l % 8 of matrix l / 8 begins, 8
/// elements at a multiple of 16 bytes. With `transposed` the lanes get them as if those were columns.
template <bool transposed>
__device__ inline Matrices load_matrices(const bfloat16* row) {
  Matrices to;
#ifdef __CUDACC__
  const auto place = static_cast<unsigned>(__cvta_generic_to_shared(row));
  if constexpr (transposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to.parts[0]), "=r"(to.parts[1]), "=r"(to.parts[2]), "=r"(to.parts[3])
                 : "r"(place)
                 : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to.parts[0]), "=r"(to.parts[1]), "=r"(to.parts[2]), "=r"(to.parts[3])
                 : "r"(place)
                 : "memory");
#else
  emulation::load_matrices(transposed, row, to.parts);
#endif
  return to;
}

/// Sums {16, 16} as two halves of 8 columns: of each, a lane has columns 2t and 2t + 1 of rows g and g + 8.
struct Sums {
  float halves[2][4] = {};
};

/// sums {16, 16} += a {16, 16} b {16, 16}. a: the matrices of rows 0 to 7 and columns 0 to 7, then rows 8 to
/// 15, then the same of columns 8 to 15. b, transposed {columns, rows}: the matrices of columns 0 to 7 with
/// rows 0 to 7, then rows 8 to 15, then the same of columns 8 to 15.
__device__ inline void multiply_add(Sums& sums, const Matrices& a, const Matrices& b) {
  for (int half = 0; half < 2; ++half) {
    auto& of_half = sums.halves[half];
#ifdef __CUDACC__
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(of_half[0]), "+f"(of_half[1]), "+f"(of_half[2]), "+f"(of_half[3])
        : "r"(a.parts[0]), "r"(a.parts[1]), "r"(a.parts[2]), "r"(a.parts[3]), "r"(b.parts[2 * half]),
          "r"(b.parts[2 * half + 1]));
#else
    const std::uint32_t columns[2] = {b.parts[2 * half], b.parts[2 * half + 1]};
    emulation::multiply_add(a.parts, columns, of_half);
#endif
  }
}

}  // namespace generous::cuda
