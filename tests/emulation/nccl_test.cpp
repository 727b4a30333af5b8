// Sums over processes by the CUDA backend and the emulated NCCL, of a process alone: order, recording,
// refusals. Several processes: mpi_gpus_test.cpp.
#include <doctest/doctest.h>
#include <nccl.h>

#include "core/backend.h"
#include "core/ops.h"
#include "tests/emulation/emulation.h"
#include "tests/emulation/libraries.h"

namespace generous {
namespace {

Backend& gpu() { return backend(Device::cuda); }

std::unique_ptr<Communicator> alone() { return gpu().connect(gpu().make_communicator_id(), 0, 1); }

std::vector<float> on_host(const Tensor& x) {
  const Tensor host = x.to(Device::cpu);
  return {host.data<float>().begin(), host.data<float>().end()};
}

/// What the call throws.
template <class Call>
std::string message_of(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("a sum takes what was computed before it, and what comes behind it takes the sum") {
  const std::unique_ptr<Communicator> communicator = alone();
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    emulation::set_seed(seed);
    const Tensor x = Tensor::full({3, 5}, 2.0F, Device::cuda);
    const Tensor y = x * 3.0F;
    const Tensor z = Tensor::full({7}, 4.0F, Device::cuda);
    const auto transfer = communicator->start_sum({y, z}, false);
    const Tensor beside = x + 1.0F;
    transfer->wait();
    const Tensor sum = y + 1.0F;
    CHECK(on_host(sum) == std::vector<float>(15, 7.0F));
    CHECK(on_host(z) == std::vector<float>(7, 4.0F));
    CHECK(on_host(beside) == std::vector<float>(15, 3.0F));
  }
  emulation::set_seed(0);
}

TEST_CASE("a recorded sum is one node beside the kernels, and is taken again at every replay") {
  const std::unique_ptr<Communicator> communicator = alone();
  const Tensor x = Tensor::full({11}, 1.0F, Device::cuda);
  Tensor y = Tensor::zeros({11}, DType::f32, Device::cuda);
  const auto work = [&] {
    gpu().affine(x, 2.0F, 0.5F, y);
    communicator->start_sum({y}, true)->wait();
    gpu().affine(y, 1.0F, 1.0F, y);
  };
  work();
  gpu().synchronize();
  const auto before = emulation::runs("nccl");
  const auto recorded = gpu().record(work);
  recorded->replay();
  gpu().synchronize();
  CHECK(emulation::runs("nccl") == before + 2);
  CHECK(on_host(y) == std::vector<float>(11, 3.5F));
  std::int64_t sums = 0;
  for (const emulation::GraphNode& node : emulation::last_graph()) sums += node.name == "nccl" ? 1 : 0;
  CHECK(sums == 1);
}

TEST_CASE("a sum that nobody waited for does not outlive its tensors") {
  const std::unique_ptr<Communicator> communicator = alone();
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    emulation::set_seed(seed);
    communicator->start_sum({Tensor::full({64}, 1.0F, Device::cuda)}, false);
    // Likely in the same memory: written behind the sum alone.
    const Tensor next = Tensor::full({64}, 5.0F, Device::cuda);
    CHECK(on_host(next) == std::vector<float>(64, 5.0F));
  }
  emulation::set_seed(0);
}

TEST_CASE("what NCCL refuses is said with its call") {
  const std::unique_ptr<Communicator> communicator = alone();
  const Tensor x = Tensor::full({3}, 1.0F, Device::cuda);
  struct Case {
    const char* function;
    ncclResult_t status;
    const char* message;
  };
  for (const Case& each :
       {Case{"ncclGetUniqueId", ncclSystemError, "ncclGetUniqueId failed: the library failed"},
        Case{"ncclCommInitRank", ncclInvalidUsage, "ncclCommInitRank failed: invalid usage"},
        Case{"ncclAllReduce", ncclUnhandledCudaError, "ncclAllReduce failed: a call of CUDA failed"}}) {
    emulation::fail_library_call(each.function, each.status);
    const std::string message = message_of([&] {
      alone();
      communicator->start_sum({x}, false)->wait();
    });
    CAPTURE(message);
    CHECK(message.starts_with("sums over processes: "));
    CHECK(message.find(each.message) != std::string::npos);
  }
  emulation::reset_libraries();
  const auto before = emulation::runs("nccl");
  communicator->start_sum({x}, false)->wait();
  CHECK(on_host(x) == std::vector<float>(3, 1.0F));
  CHECK(emulation::runs("nccl") == before + 1);
  CHECK(message_of([] { gpu().connect(CommunicatorId(5), 0, 1); }).find("an id of 5 bytes, not 128") !=
        std::string::npos);
  CHECK(message_of([] { backend(Device::cpu).make_communicator_id(); }).find("by MPI") != std::string::npos);
}

}  // namespace generous
