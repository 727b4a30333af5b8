// Checkpoints of PyTorch from anyone: archives, streams, the pickles in them. What is read has a place for
// every number.
#include "core/io/torch_checkpoint.h"
#include "tests/fuzz/fuzz.h"

using namespace generous;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  NamedTensors tensors;
  if (!fuzz::accepted([&] { tensors = parse_torch_checkpoint(fuzz::text_of(data, size), "input"); }))
    return 0;
  for (const auto& [name, tensor] : tensors)
    fuzz::check(tensor.dtype() == DType::f32 || tensor.dtype() == DType::i64, "numbers are f32 or i64");
  return 0;
}
