// What the tests of the emulated CUDA runtime share.
#pragma once

#include <cuda_runtime.h>
#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "tests/emulation/emulation.h"

namespace generous::testing {

/// The first line of every test: the runtime as at the start of the program, and again afterwards.
class FreshRuntime {
 public:
  FreshRuntime() { emulation::reset(); }
  ~FreshRuntime() { emulation::reset(); }
  FreshRuntime(const FreshRuntime&) = delete;
  FreshRuntime& operator=(const FreshRuntime&) = delete;
};

/// Device memory of `count` ints.
class DeviceInts {
 public:
  explicit DeviceInts(std::size_t count) : count_(count) {
    REQUIRE(cudaMalloc(&data_, count * sizeof(int)) == cudaSuccess);
  }
  explicit DeviceInts(const std::vector<int>& values) : DeviceInts(values.size()) {
    REQUIRE(cudaMemcpy(data_, values.data(), count_ * sizeof(int), cudaMemcpyHostToDevice) == cudaSuccess);
    REQUIRE(cudaDeviceSynchronize() == cudaSuccess);
  }
  ~DeviceInts() { cudaFree(data_); }
  DeviceInts(const DeviceInts&) = delete;
  DeviceInts& operator=(const DeviceInts&) = delete;

  int* data() const { return data_; }
  /// Waits for the device.
  std::vector<int> read() const {
    REQUIRE(cudaDeviceSynchronize() == cudaSuccess);
    std::vector<int> values(count_);
    REQUIRE(cudaMemcpy(values.data(), data_, count_ * sizeof(int), cudaMemcpyDeviceToHost) == cudaSuccess);
    return values;
  }

 private:
  std::size_t count_;
  int* data_ = nullptr;
};

/// Pinned memory of `count` ints, all `value`.
class PinnedInts {
 public:
  explicit PinnedInts(std::size_t count, int value = 0) {
    REQUIRE(cudaMallocHost(&data_, count * sizeof(int)) == cudaSuccess);
    for (std::size_t i = 0; i < count; ++i) data_[i] = value;
  }
  ~PinnedInts() { cudaFreeHost(data_); }
  PinnedInts(const PinnedInts&) = delete;
  PinnedInts& operator=(const PinnedInts&) = delete;

  int* data() const { return data_; }
  int& operator[](std::size_t i) const { return data_[i]; }

 private:
  int* data_ = nullptr;
};

class OwnStream {
 public:
  explicit OwnStream(unsigned flags = cudaStreamNonBlocking) {
    REQUIRE(cudaStreamCreateWithFlags(&stream_, flags) == cudaSuccess);
  }
  ~OwnStream() { cudaStreamDestroy(stream_); }
  OwnStream(const OwnStream&) = delete;
  OwnStream& operator=(const OwnStream&) = delete;
  operator cudaStream_t() const { return stream_; }  // NOLINT: stands for the handle in calls

 private:
  cudaStream_t stream_ = nullptr;
};

class OwnEvent {
 public:
  explicit OwnEvent(unsigned flags = cudaEventDefault) {
    REQUIRE(cudaEventCreateWithFlags(&event_, flags) == cudaSuccess);
  }
  ~OwnEvent() { cudaEventDestroy(event_); }
  OwnEvent(const OwnEvent&) = delete;
  OwnEvent& operator=(const OwnEvent&) = delete;
  operator cudaEvent_t() const { return event_; }  // NOLINT: stands for the handle in calls

 private:
  cudaEvent_t event_ = nullptr;
};

template <class... Parameters, class... Arguments>
cudaError_t launch(unsigned blocks, unsigned threads, cudaStream_t stream, void (*kernel)(Parameters...),
                   Arguments... arguments) {
  const cudaLaunchConfig_t config{.gridDim = dim3(blocks),
                                  .blockDim = dim3(threads),
                                  .dynamicSmemBytes = 0,
                                  .stream = stream,
                                  .attrs = nullptr,
                                  .numAttrs = 0};
  return cudaLaunchKernelEx(&config, kernel, arguments...);
}

/// How a program that does `work` ends, and what it says.
struct Ending {
  bool killed = false;
  std::string text;
};

inline Ending ending_of(const std::function<void()>& work) {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  std::fflush(nullptr);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    dup2(ends[1], STDERR_FILENO);
    dup2(ends[1], STDOUT_FILENO);
    work();
    _exit(0);
  }
  close(ends[1]);
  Ending ending;
  char buffer[4096];
  for (ssize_t count; (count = ::read(ends[0], buffer, sizeof buffer)) > 0;)
    ending.text.append(buffer, static_cast<std::size_t>(count));
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  ending.killed = WIFSIGNALED(status) || (WIFEXITED(status) && WEXITSTATUS(status) != 0);
  return ending;
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace generous::testing
