// The sums and maxima over the threads of a block, called again and again by the same block: what one call
// leaves in shared memory must not meet the next.

#include "cuda/block_reduce.h"

#include <cuda_runtime.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <vector>

#include "cuda/launch.h"

namespace generous::cuda {
namespace {

constexpr int threads = 256;
constexpr int rounds = 6;

__device__ float value(int round, int block, int thread) {
  return static_cast<float>((thread * 37 + block * 11 + round * 101) % 211 - 100);
}

/// sums and maxima {rounds, blocks, threads}: what each thread gets of value(round, block, thread).
__global__ void reduce_repeatedly(float* sums, float* maxima) {
  const int block = static_cast<int>(blockIdx.x);
  const int thread = static_cast<int>(threadIdx.x);
  const auto place = [=](int round) {
    return (round * static_cast<int>(gridDim.x) + block) * threads + thread;
  };
  for (int round = 0; round < rounds; ++round)
    sums[place(round)] = block_reduce(value(round, block, thread), SumOf{});
  for (int round = 0; round < rounds; ++round)
    maxima[place(round)] = block_reduce(value(round, block, thread), LargerOf{});
}

TEST_CASE("every thread of a block gets the sum and the maximum, call after call") {
  constexpr int blocks = 5;
  constexpr std::size_t count = std::size_t{rounds} * blocks * threads;
  float* sums = nullptr;
  float* maxima = nullptr;
  check(cudaMalloc(&sums, count * sizeof(float)), "test", "cudaMalloc");
  check(cudaMalloc(&maxima, count * sizeof(float)), "test", "cudaMalloc");
  launch("test", nullptr, {.blocks = blocks, .threads = threads}, reduce_repeatedly, sums, maxima);
  std::vector<float> found(2 * count);
  const auto read = [&](const float* from, std::size_t at) {
    check(cudaMemcpy(found.data() + at, from, count * sizeof(float), cudaMemcpyDeviceToHost), "test",
          "cudaMemcpy");
  };
  read(sums, 0);
  read(maxima, count);
  cudaFree(sums);
  cudaFree(maxima);

  std::size_t wrong = 0;
  for (int round = 0; round < rounds; ++round)
    for (int block = 0; block < blocks; ++block) {
      float sum = 0.0F;  // of integers, so in any order
      float largest = -1000.0F;
      for (int thread = 0; thread < threads; ++thread) {
        sum += value(round, block, thread);
        largest = std::max(largest, value(round, block, thread));
      }
      for (int thread = 0; thread < threads; ++thread) {
        const auto place = static_cast<std::size_t>((round * blocks + block) * threads + thread);
        wrong += found[place] != sum;
        wrong += found[count + place] != largest;
      }
    }
  CHECK(wrong == 0);
}

}  // namespace
}  // namespace generous::cuda
