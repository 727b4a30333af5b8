// How the emulated cuDNN chooses: performance records of the heuristic and of measuring, workspace sizes,
// math types.

#include <set>

#include "tests/emulation/libraries_convolution.h"

namespace generous {
namespace {

using namespace testing;

/// The fields of a performance record, whatever its direction.
struct Record {
  int algorithm;
  cudnnStatus_t status;
  std::size_t memory;
  cudnnDeterminism_t determinism;
  cudnnMathType_t math;
};

template <class Perf>
std::vector<Record> records_of(const std::vector<Perf>& perfs, int count) {
  std::vector<Record> records;
  for (int i = 0; i < count; ++i) {
    const Perf& perf = perfs[static_cast<std::size_t>(i)];
    records.push_back({perf.algo, perf.status, perf.memory, perf.determinism, perf.mathType});
  }
  return records;
}

/// What the heuristic answers, at most `requested` records.
std::vector<Record> heuristic(cudnnHandle_t handle, Direction direction, const Described& d,
                              int requested = 10) {
  int count = 0;
  const auto size = static_cast<std::size_t>(requested);
  if (direction == Direction::forward) {
    std::vector<cudnnConvolutionFwdAlgoPerf_t> perfs(size);
    REQUIRE(cudnnGetConvolutionForwardAlgorithm_v7(handle, d.x, d.w, d.convolution, d.y, requested, &count,
                                                   perfs.data()) == CUDNN_STATUS_SUCCESS);
    return records_of(perfs, count);
  }
  if (direction == Direction::backward_data) {
    std::vector<cudnnConvolutionBwdDataAlgoPerf_t> perfs(size);
    REQUIRE(cudnnGetConvolutionBackwardDataAlgorithm_v7(handle, d.w, d.y, d.convolution, d.x, requested,
                                                        &count, perfs.data()) == CUDNN_STATUS_SUCCESS);
    return records_of(perfs, count);
  }
  std::vector<cudnnConvolutionBwdFilterAlgoPerf_t> perfs(size);
  REQUIRE(cudnnGetConvolutionBackwardFilterAlgorithm_v7(handle, d.x, d.y, d.convolution, d.w, requested,
                                                        &count, perfs.data()) == CUDNN_STATUS_SUCCESS);
  return records_of(perfs, count);
}

/// What measuring answers, on the caller's memory.
std::vector<Record> measured(cudnnHandle_t handle, Direction direction, const Described& d, const Call& c) {
  int count = 0;
  if (direction == Direction::forward) {
    std::vector<cudnnConvolutionFwdAlgoPerf_t> perfs(10);
    REQUIRE(cudnnFindConvolutionForwardAlgorithmEx(handle, d.x, c.x, d.w, c.w, d.convolution, d.y, c.y, 10,
                                                   &count, perfs.data(), c.workspace,
                                                   c.bytes) == CUDNN_STATUS_SUCCESS);
    return records_of(perfs, count);
  }
  if (direction == Direction::backward_data) {
    std::vector<cudnnConvolutionBwdDataAlgoPerf_t> perfs(10);
    REQUIRE(cudnnFindConvolutionBackwardDataAlgorithmEx(handle, d.w, c.w, d.y, c.y, d.convolution, d.x, c.x,
                                                        10, &count, perfs.data(), c.workspace,
                                                        c.bytes) == CUDNN_STATUS_SUCCESS);
    return records_of(perfs, count);
  }
  std::vector<cudnnConvolutionBwdFilterAlgoPerf_t> perfs(10);
  REQUIRE(cudnnFindConvolutionBackwardFilterAlgorithmEx(handle, d.x, c.x, d.y, c.y, d.convolution, d.w, c.w,
                                                        10, &count, perfs.data(), c.workspace,
                                                        c.bytes) == CUDNN_STATUS_SUCCESS);
  return records_of(perfs, count);
}

/// The algorithms of the records with this status, in their order.
std::vector<int> with_status(const std::vector<Record>& records, cudnnStatus_t status) {
  std::vector<int> algorithms;
  for (const Record& record : records)
    if (record.status == status) algorithms.push_back(record.algorithm);
  return algorithms;
}

TEST_CASE("records of the heuristic: those that work first, with their size, determinism and math type") {
  const CudnnHandle handle;
  for (const DType dtype : {DType::f32, DType::bf16})
    for (const Direction direction : directions) {
      CAPTURE(static_cast<int>(direction));
      const Described d(Convolution{.dtype = dtype});
      const std::vector<Record> records = heuristic(handle, direction, d);
      const std::vector<int> working = with_status(records, CUDNN_STATUS_SUCCESS);
      CHECK(std::set<int>(working.begin(), working.end()).size() == algorithms_of(direction).size());
      std::set<std::size_t> sizes;
      for (std::size_t i = 0; i < records.size(); ++i) {
        CAPTURE(records[i].algorithm);
        if (i >= working.size()) {
          CHECK(records[i].status == CUDNN_STATUS_NOT_SUPPORTED);
          continue;
        }
        std::size_t bytes = 0;
        REQUIRE(workspace_size(handle, direction, d, records[i].algorithm, &bytes) == CUDNN_STATUS_SUCCESS);
        CHECK(records[i].memory == bytes);
        CHECK(sizes.insert(bytes).second);
        CHECK(records[i].math == (dtype == DType::f32 ? CUDNN_FMA_MATH : CUDNN_TENSOR_OP_MATH));
        const bool varies = (direction == Direction::backward_data && records[i].algorithm == 0) ||
                            (direction == Direction::backward_filter && records[i].algorithm != 1);
        CHECK(records[i].determinism == (varies ? CUDNN_NON_DETERMINISTIC : CUDNN_DETERMINISTIC));
      }
      CHECK(heuristic(handle, direction, d, 1).size() == 1);
      CHECK(heuristic(handle, direction, d, 1)[0].algorithm == working[0]);
    }
}

TEST_CASE("another shape or type needs another workspace") {
  const CudnnHandle handle;
  for (const Direction direction : directions) {
    std::set<std::size_t> sizes;
    for (const Convolution& of : {Convolution{}, Convolution{.c = 60, .h = 19},
                                  Convolution{.c = 60, .h = 19, .dtype = DType::bf16}}) {
      std::size_t bytes = 0;
      REQUIRE(workspace_size(handle, direction, Described(of), 1, &bytes) == CUDNN_STATUS_SUCCESS);
      CHECK(sizes.insert(bytes).second);
    }
  }
}

TEST_CASE("bf16 needs the math type that the records name") {
  const CudnnHandle handle;
  const Convolution of{.dtype = DType::bf16};
  const Operands operands(of);
  const Described d(of);
  for (const Direction direction : directions) {
    REQUIRE(cudnnSetConvolutionMathType(d.convolution, CUDNN_DEFAULT_MATH) == CUDNN_STATUS_SUCCESS);
    const Record best = heuristic(handle, direction, d)[0];
    CHECK(best.math == CUDNN_TENSOR_OP_MATH);
    CHECK(convolve(handle, direction, d, best.algorithm, operands.call()) == CUDNN_STATUS_NOT_SUPPORTED);
    REQUIRE(cudnnSetConvolutionMathType(d.convolution, best.math) == CUDNN_STATUS_SUCCESS);
    CHECK(convolve(handle, direction, d, best.algorithm, operands.call()) == CUDNN_STATUS_SUCCESS);
    REQUIRE(cudnnSetConvolutionMathType(d.convolution, CUDNN_FMA_MATH) == CUDNN_STATUS_SUCCESS);
    CHECK(convolve(handle, direction, d, best.algorithm, operands.call()) == CUDNN_STATUS_NOT_SUPPORTED);
  }
  CHECK(last_error().find("bf16") != std::string::npos);
  CHECK(last_error().empty());
}

TEST_CASE("measuring runs the algorithms on the caller's memory, as far as the workspace suffices") {
  const CudnnHandle handle;
  const Convolution of;
  const Described d(of);
  for (const Direction direction : directions) {
    CAPTURE(static_cast<int>(direction));
    const Operands operands(of);
    const DeviceArray& output = direction == Direction::forward         ? operands.y
                                : direction == Direction::backward_data ? operands.x
                                                                        : operands.w;
    const std::vector<float> before = output.read();
    const std::vector<Record> all = measured(handle, direction, d, operands.call());
    const std::vector<float> after = output.read();
    CHECK(after != before);
    CHECK(with_status(all, CUDNN_STATUS_SUCCESS).size() == algorithms_of(direction).size());
    if (direction != Direction::backward_data)
      CHECK(all[0].algorithm != heuristic(handle, direction, d)[0].algorithm);

    Call call = operands.call();
    call.bytes = 0;
    const std::vector<Record> few = measured(handle, direction, d, call);
    CHECK(with_status(few, CUDNN_STATUS_SUCCESS) == std::vector<int>{0});
    CHECK(few[0].algorithm == 0);
    CHECK(with_status(few, CUDNN_STATUS_ALLOC_FAILED).size() == algorithms_of(direction).size() - 1);
  }
}

}  // namespace
}  // namespace generous
