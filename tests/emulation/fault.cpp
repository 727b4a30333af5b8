#include "fault.h"

#include <unistd.h>

#include <csetjmp>
#include <csignal>
#include <cstdio>
#include <cstring>

#include "fiber.h"
#include "memory.h"

namespace generous::emulation {
namespace {

constexpr std::size_t handler_stack_bytes = std::size_t{1} << 16;

// Of the thread that runs device work.
thread_local bool running = false;
thread_local sigjmp_buf escape;
thread_local const void* fault_address = nullptr;

struct sigaction others[NSIG];  ///< the handlers that were there before

void handle(int signal, siginfo_t* info, void*) {
  if (running) {
    if (memory().open(info->si_addr)) return;
    fault_address = info->si_addr;
    Fiber::abandon();
    siglongjmp(escape, 1);
  }
  if (memory().owns(info->si_addr)) {
    char text[200];
    const int length = std::snprintf(text, sizeof text,
                                     "emulated CUDA: host code touched device memory at %p\n", info->si_addr);
    if (write(STDERR_FILENO, text, static_cast<std::size_t>(length)) < 0) _exit(1);
  }
  sigaction(signal, &others[signal], nullptr);  // who is next sees the same fault
}

void watch(int signal) {
  struct sigaction current {};
  sigaction(signal, nullptr, &current);
  if ((current.sa_flags & SA_SIGINFO) != 0 && current.sa_sigaction == handle) return;
  others[signal] = current;
  struct sigaction ours {};
  ours.sa_sigaction = handle;
  ours.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  sigemptyset(&ours.sa_mask);
  sigaction(signal, &ours, nullptr);
}

}  // namespace

void watch_faults() {
  watch(SIGSEGV);
  watch(SIGBUS);
}

Fault run_guarded(const std::function<void()>& work) {
  // The thread's own stack may be what was overrun.
  thread_local char handler_stack[handler_stack_bytes];
  stack_t stack{};
  sigaltstack(nullptr, &stack);
  if ((stack.ss_flags & SS_DISABLE) != 0) {
    stack = {.ss_sp = handler_stack, .ss_flags = 0, .ss_size = handler_stack_bytes};
    sigaltstack(&stack, nullptr);
  }
  if (sigsetjmp(escape, 0) != 0) {
    running = false;
    return {.happened = true, .address = fault_address};
  }
  running = true;
  try {
    work();
  } catch (...) {
    running = false;
    throw;
  }
  running = false;
  return {};
}

}  // namespace generous::emulation
