#include <fcntl.h>
#include <omp.h>
#include <sanitizer/common_interface_defs.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>

#include "tests/fuzz/fuzz.h"
#include "tests/temporary_folder.h"

namespace generous::fuzz {

std::uint8_t take_byte(std::string_view& input) {
  if (input.empty()) return 0;
  const auto byte = static_cast<std::uint8_t>(input.front());
  input.remove_prefix(1);
  return byte;
}

void check(bool kept, std::string_view promise) {
  if (kept) return;
  // Where the sanitizers report, whatever became of standard error.
  __sanitizer_report_error_summary(("a promise is broken: " + std::string(promise)).c_str());
  std::abort();
}

const std::filesystem::path& scratch_folder() {
  static const TemporaryFolder folder;
  return folder.path();
}

void put_file(const std::filesystem::path& path, std::string_view content) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  const bool written =
      file >= 0 && ::write(file, content.data(), content.size()) == static_cast<ssize_t>(content.size());
  ::close(file);
  check(written, "files can be written in the scratch folder");
}

bool same(const NamedTensors& one, const NamedTensors& other) {
  return std::ranges::equal(one, other, [](const auto& a, const auto& b) {
    const auto& [name_a, tensor_a] = a;
    const auto& [name_b, tensor_b] = b;
    return name_a == name_b && tensor_a.dtype() == tensor_b.dtype() && tensor_a.shape() == tensor_b.shape() &&
           std::memcmp(tensor_a.raw(), tensor_b.raw(), tensor_a.bytes()) == 0;
  });
}

}  // namespace generous::fuzz

/// libFuzzer calls this once. Threads would only slow down such small inputs.
extern "C" int LLVMFuzzerInitialize(int*, char***) {
  omp_set_num_threads(1);
  return 0;
}
