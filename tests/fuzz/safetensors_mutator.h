// Mutates safetensors files so that most of them stay framed: without this nearly every input would end at a
// header size that does not fit.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

/// libFuzzer calls this instead of its own mutations, which it uses on the header, on the data or on the
/// whole file.
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* file, std::size_t size, std::size_t max_size,
                                               unsigned seed) {
  std::uint64_t header_size = 0;
  constexpr std::size_t frame = sizeof(header_size);
  if (size < frame || seed % 8 == 0) return LLVMFuzzerMutate(file, size, max_size);
  std::memcpy(&header_size, file, frame);
  header_size = std::min<std::uint64_t>(header_size, size - frame);
  std::uint8_t* const header = file + frame;
  const std::size_t data_size = size - frame - header_size;
  if (seed % 8 == 1)
    return frame + header_size +
           LLVMFuzzerMutate(header + header_size, data_size, max_size - frame - header_size);

  const std::vector<std::uint8_t> data(header + header_size, header + header_size + data_size);
  header_size = LLVMFuzzerMutate(header, header_size, max_size - frame - data_size);
  std::memcpy(file, &header_size, frame);
  std::copy(data.begin(), data.end(), header + header_size);
  return frame + header_size + data_size;
}
