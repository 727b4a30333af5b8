// Weights and tensors from anyone. What is read can be written, and reads back the same.
#include "core/safetensors.h"

#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/safetensors_mutator.h"

using namespace generous;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  SafetensorsFile file;
  if (!fuzz::accepted([&] { file = parse_safetensors(fuzz::text_of(data, size), "input"); })) return 0;
  for (const auto& [name, tensor] : file.tensors)
    if (name.empty()) return 0;  // may be read, but is not written

  static const std::filesystem::path path = fuzz::scratch_folder() / "written.safetensors";
  write_safetensors(path, file.tensors, file.metadata);
  const SafetensorsFile again = read_safetensors(path);
  fuzz::check(again.metadata == file.metadata, "metadata reads back the same");
  fuzz::check(fuzz::same(again.tensors, file.tensors), "tensors read back the same");
  return 0;
}
