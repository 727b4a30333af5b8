// Preloaded into a program that uses CUDA, and named by CUDA_INJECTION64_PATH: writes when each kernel began
// and ended on the GPU, those of recorded steps too, with no change to how they run. Every process of the
// program that starts a kernel leaves a file of its own.
//   GENEROUS_KERNEL_TIMES: the folder for them, PROCESS.csv (begin_ns,end_ns,blocks,threads,registers,name)

#include <cupti.h>
#include <cxxabi.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <string>

namespace {

constexpr std::size_t buffer_bytes = std::size_t{8} << 20;
constexpr std::size_t buffer_alignment = 8;

/// The file of this process.
std::FILE* times_file() {
  static std::FILE* const file = [] {
    const char* const folder = std::getenv("GENEROUS_KERNEL_TIMES");
    if (folder == nullptr) return static_cast<std::FILE*>(nullptr);
    std::FILE* const opened =
        std::fopen((std::string(folder) + "/" + std::to_string(::getpid()) + ".csv").c_str(), "w");
    if (opened != nullptr) std::fputs("begin_ns,end_ns,blocks,threads,registers,name\n", opened);
    return opened;
  }();
  return file;
}

void write(const CUpti_ActivityKernel10& kernel) {
  if (times_file() == nullptr) return;
  const auto product = [](std::int32_t x, std::int32_t y, std::int32_t z) {
    return static_cast<long long>(x) * y * z;
  };
  int failed = 0;
  const std::unique_ptr<char, decltype(&std::free)> readable(
      abi::__cxa_demangle(kernel.name, nullptr, nullptr, &failed), &std::free);
  std::fprintf(times_file(), "%llu,%llu,%lld,%lld,%u,\"%s\"\n", static_cast<unsigned long long>(kernel.start),
               static_cast<unsigned long long>(kernel.end), product(kernel.gridX, kernel.gridY, kernel.gridZ),
               product(kernel.blockX, kernel.blockY, kernel.blockZ), unsigned{kernel.registersPerThread},
               failed == 0 ? readable.get() : kernel.name);
}

// CUPTI writes its records into buffers of ours.
void CUPTIAPI give_buffer(std::uint8_t** buffer, std::size_t* bytes, std::size_t* most_records) {
  *buffer = static_cast<std::uint8_t*>(std::aligned_alloc(buffer_alignment, buffer_bytes));
  *bytes = buffer_bytes;
  *most_records = 0;  // as many as fit
}

void CUPTIAPI take_buffer(CUcontext, std::uint32_t, std::uint8_t* buffer, std::size_t,
                          std::size_t valid_bytes) {
  static std::mutex one_at_a_time;
  const std::scoped_lock lock(one_at_a_time);
  CUpti_Activity* record = nullptr;
  while (cuptiActivityGetNextRecord(buffer, valid_bytes, &record) == CUPTI_SUCCESS)
    if (record->kind == CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL)
      write(*reinterpret_cast<const CUpti_ActivityKernel10*>(record));
  if (times_file() != nullptr) std::fflush(times_file());
  std::free(buffer);
}

bool injected = false;

void finish() {
  if (injected) cuptiActivityFlushAll(CUPTI_ACTIVITY_FLAG_FLUSH_FORCED);
}

}  // namespace

/// CUDA calls this when a process of the program begins to use it.
extern "C" int InitializeInjection() {
  if (cuptiActivityRegisterCallbacks(give_buffer, take_buffer) != CUPTI_SUCCESS ||
      cuptiActivityEnable(CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL) != CUPTI_SUCCESS) {
    std::fputs("kernel_times: error: CUPTI cannot watch kernels here\n", stderr);
    return 0;
  }
  injected = true;
  std::atexit(finish);
  return 1;
}

/// Some programs end so, past atexit().
extern "C" void _exit(int code) {
  finish();
  ::syscall(SYS_exit_group, code);
  __builtin_unreachable();
}
