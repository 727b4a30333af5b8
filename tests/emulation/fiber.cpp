#include "fiber.h"

#include <sys/mman.h>

#include <stdexcept>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace generous::emulation {
namespace {

namespace context = boost::context::detail;

constexpr std::size_t page = 4096;
constexpr std::size_t stack_bytes = std::size_t{256} << 10;  // parameters of a kernel can be 32 KiB

// One fiber runs at a time; null outside.
Fiber* running = nullptr;
context::fcontext_t outside = nullptr;

void* outside_fake_stack = nullptr;
const void* outside_stack = nullptr;
std::size_t outside_stack_bytes = 0;

// The address sanitizer wants to know which stack is in use.
#ifdef __SANITIZE_ADDRESS__
void start_switch(void** fake_stack, const void* stack, std::size_t bytes) {
  __sanitizer_start_switch_fiber(fake_stack, stack, bytes);
}
void finish_switch(void* fake_stack, const void** from, std::size_t* from_bytes) {
  __sanitizer_finish_switch_fiber(fake_stack, from, from_bytes);
}
void forget(const void* stack, std::size_t bytes) { __asan_unpoison_memory_region(stack, bytes); }
#else
void start_switch(void**, const void*, std::size_t) {}
void finish_switch(void*, const void**, std::size_t*) {}
void forget(const void*, std::size_t) {}
#endif

}  // namespace

Fiber::Fiber(void (*body)()) : body_(body) {
  void* mapped = mmap(nullptr, page + stack_bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) throw std::runtime_error("emulated device: no stack for a thread");
  stack_ = static_cast<char*>(mapped);
  mprotect(stack_, page, PROT_NONE);
  restart();
}

Fiber::~Fiber() { munmap(stack_, page + stack_bytes); }

void Fiber::restart() {
  forget(stack_ + page, stack_bytes);
  fake_stack_ = nullptr;
  context_ = context::make_fcontext(stack_ + page + stack_bytes, stack_bytes, begin);
}

void Fiber::begin(context::transfer_t from) {
  finish_switch(nullptr, &outside_stack, &outside_stack_bytes);
  outside = from.fctx;
  running->body_();
}

void Fiber::enter() {
  running = this;
  start_switch(&outside_fake_stack, stack_ + page, stack_bytes);
  context_ = context::jump_fcontext(context_, nullptr).fctx;
  finish_switch(outside_fake_stack, nullptr, nullptr);
  running = nullptr;
}

void Fiber::abandon() {
  if (running == nullptr) return;
  start_switch(nullptr, outside_stack, outside_stack_bytes);
  finish_switch(outside_fake_stack, nullptr, nullptr);
  running = nullptr;
}

void Fiber::leave() {
  Fiber& self = *running;
  start_switch(&self.fake_stack_, outside_stack, outside_stack_bytes);
  outside = context::jump_fcontext(outside, nullptr).fctx;
  finish_switch(self.fake_stack_, &outside_stack, &outside_stack_bytes);
}

}  // namespace generous::emulation
