#include "core/cpu/address_space.h"

#include <sys/mman.h>
#include <sys/resource.h>

#include "core/error.h"

namespace generous {

void require_address_space(std::int64_t bytes) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return;
  const auto size = static_cast<std::size_t>(bytes);
  void* const probe = ::mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (probe != MAP_FAILED) {
    ::munmap(probe, size);
    return;
  }
  fail(
      "out of memory: the limit of {} MiB on this process's address space (ulimit -v) leaves less than the "
      "{} MiB that oneDNN needs next: raise it, or try a smaller --batch_size",
      limit.rlim_cur >> 20U, (bytes + (1 << 20) - 1) >> 20U);
}

}  // namespace generous
