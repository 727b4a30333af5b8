// Which algorithm for a convolution: the two ways in which the emulated cuDNN answers. Neither looks at the
// clock, so that runs can be repeated; the two orders differ, so that a caller's choice between them shows,
// and they begin with algorithms that are not deterministic where there are such, so that a missing filter
// shows.
#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "cudnn_problem.h"
#include "libraries.h"

namespace generous::emulation {
namespace {

/// Best first.
std::vector<int> order_of(Direction direction, bool measured) {
  switch (direction) {
    case Direction::forward:
      return measured ? std::vector<int>{0, 1} : std::vector<int>{1, 0};
    case Direction::backward_data:
      return {0, 1};
    case Direction::backward_filter:
      return measured ? std::vector<int>{3, 0, 1} : std::vector<int>{0, 3, 1};
  }
  return {};
}

template <class Record>
using AlgorithmOf = decltype(Record::algo);

template <class Record>
Record record_of(const Problem& problem, int algorithm, cudnnStatus_t status) {
  Record record{};
  record.algo = static_cast<AlgorithmOf<Record>>(algorithm);
  record.status = status;
  record.time = -1.0F;
  record.memory = status == CUDNN_STATUS_NOT_SUPPORTED ? 0 : workspace_bytes(problem, algorithm);
  record.determinism = determinism_of(problem.direction, algorithm);
  record.mathType = problem.math;
  return record;
}

/// The algorithms in their order, then, with their status, those that do not take the problem.
template <class Record>
std::vector<Record> records_of(std::string_view call, const Problem& problem, bool measured) {
  std::vector<Record> records;
  const std::vector<int> order = order_of(problem.direction, measured);
  for (const int algorithm : order)
    if (examine_algorithm(call, problem, algorithm) == CUDNN_STATUS_SUCCESS)
      records.push_back(record_of<Record>(problem, algorithm, CUDNN_STATUS_SUCCESS));
  for (int algorithm = 0; algorithm < algorithm_count(problem.direction); ++algorithm)
    if (const cudnnStatus_t status = examine_algorithm(call, problem, algorithm);
        status != CUDNN_STATUS_SUCCESS)
      records.push_back(record_of<Record>(problem, algorithm, status));
  return records;
}

/// Checks what the two ways have in common and fills `problem`, with the math type that the records will
/// name.
cudnnStatus_t prepare(std::string_view call, Direction direction, cudnnHandle_t handle,
                      const Descriptors& descriptors, int requested, const int* returned, const void* records,
                      Problem& problem) {
  if (handle == nullptr || returned == nullptr || records == nullptr || requested < 1)
    return refuse(CUDNN_STATUS_BAD_PARAM, fmt::format("{}: null argument, or {} records", call, requested));
  if (const cudnnStatus_t status = examine(call, direction, descriptors, problem);
      status != CUDNN_STATUS_SUCCESS)
    return status;
  if (needs_other_math(problem)) problem.math = CUDNN_TENSOR_OP_MATH;
  return CUDNN_STATUS_SUCCESS;
}

template <class Record>
void deliver(const std::vector<Record>& records, int requested, int* returned, Record* results) {
  *returned = std::min(requested, static_cast<int>(records.size()));
  std::copy_n(records.begin(), *returned, results);
}

template <class Record>
cudnnStatus_t get(std::string_view call, Direction direction, cudnnHandle_t handle,
                  const Descriptors& descriptors, int requested, int* returned, Record* results) {
  Problem problem;
  if (const cudnnStatus_t status =
          prepare(call, direction, handle, descriptors, requested, returned, results, problem);
      status != CUDNN_STATUS_SUCCESS)
    return status;
  deliver(records_of<Record>(call, problem, false), requested, returned, results);
  return CUDNN_STATUS_SUCCESS;
}

/// Runs every algorithm for which the workspace suffices and waits for it; the results stay in the output.
template <class Record>
cudnnStatus_t find(std::string_view call, Direction direction, cudnnHandle_t handle,
                   const Descriptors& descriptors, Operands operands, std::size_t bytes, int requested,
                   int* returned, Record* results) {
  Problem problem;
  if (const cudnnStatus_t status =
          prepare(call, direction, handle, descriptors, requested, returned, results, problem);
      status != CUDNN_STATUS_SUCCESS)
    return status;
  if (operands.x == nullptr || operands.filter == nullptr || operands.y == nullptr)
    return refuse(CUDNN_STATUS_BAD_PARAM, fmt::format("{}: null data", call));
  if (operands.workspace == nullptr) bytes = 0;
  if (cudaStreamSynchronize(handle->stream) != cudaSuccess)
    return refuse(CUDNN_STATUS_EXECUTION_FAILED_CUDART,
                  fmt::format("{}: the stream cannot be waited for", call));

  std::vector<Record> records = records_of<Record>(call, problem, true);
  float time = 0.0F;
  for (Record& record : records) {
    if (record.status != CUDNN_STATUS_SUCCESS) continue;
    if (record.memory > bytes) {
      record.status = CUDNN_STATUS_ALLOC_FAILED;
      continue;
    }
    const int algorithm = record.algo;
    const bool accepted =
        submit(handle->stream, call, [problem, algorithm, operands] { run(problem, algorithm, operands); });
    if (!accepted || cudaStreamSynchronize(handle->stream) != cudaSuccess)
      record.status = CUDNN_STATUS_EXECUTION_FAILED;
    record.time = time += 0.125F;
  }
  std::stable_partition(records.begin(), records.end(),
                        [](const Record& record) { return record.status == CUDNN_STATUS_SUCCESS; });
  deliver(records, requested, returned, results);
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t max_count(Direction direction, cudnnHandle_t handle, int* count) {
  if (handle == nullptr || count == nullptr) return refuse(CUDNN_STATUS_BAD_PARAM, "null argument");
  *count = algorithm_count(direction);
  return CUDNN_STATUS_SUCCESS;
}

void* writable(const void* data) { return const_cast<void*>(data); }

}  // namespace
}  // namespace generous::emulation

using namespace generous::emulation;

cudnnStatus_t cudnnGetConvolutionForwardAlgorithmMaxCount(cudnnHandle_t handle, int* count) {
  return max_count(Direction::forward, handle, count);
}

cudnnStatus_t cudnnGetConvolutionBackwardDataAlgorithmMaxCount(cudnnHandle_t handle, int* count) {
  return max_count(Direction::backward_data, handle, count);
}

cudnnStatus_t cudnnGetConvolutionBackwardFilterAlgorithmMaxCount(cudnnHandle_t handle, int* count) {
  return max_count(Direction::backward_filter, handle, count);
}

cudnnStatus_t cudnnGetConvolutionForwardAlgorithm_v7(
    cudnnHandle_t handle, const cudnnTensorDescriptor_t srcDesc, const cudnnFilterDescriptor_t filterDesc,
    const cudnnConvolutionDescriptor_t convDesc, const cudnnTensorDescriptor_t destDesc,
    const int requestedAlgoCount, int* returnedAlgoCount, cudnnConvolutionFwdAlgoPerf_t* perfResults) {
  return get("cudnnGetConvolutionForwardAlgorithm_v7", Direction::forward, handle,
             {srcDesc, filterDesc, convDesc, destDesc}, requestedAlgoCount, returnedAlgoCount, perfResults);
}

cudnnStatus_t cudnnGetConvolutionBackwardDataAlgorithm_v7(
    cudnnHandle_t handle, const cudnnFilterDescriptor_t filterDesc, const cudnnTensorDescriptor_t diffDesc,
    const cudnnConvolutionDescriptor_t convDesc, const cudnnTensorDescriptor_t gradDesc,
    const int requestedAlgoCount, int* returnedAlgoCount, cudnnConvolutionBwdDataAlgoPerf_t* perfResults) {
  return get("cudnnGetConvolutionBackwardDataAlgorithm_v7", Direction::backward_data, handle,
             {gradDesc, filterDesc, convDesc, diffDesc}, requestedAlgoCount, returnedAlgoCount, perfResults);
}

cudnnStatus_t cudnnGetConvolutionBackwardFilterAlgorithm_v7(
    cudnnHandle_t handle, const cudnnTensorDescriptor_t srcDesc, const cudnnTensorDescriptor_t diffDesc,
    const cudnnConvolutionDescriptor_t convDesc, const cudnnFilterDescriptor_t gradDesc,
    const int requestedAlgoCount, int* returnedAlgoCount, cudnnConvolutionBwdFilterAlgoPerf_t* perfResults) {
  return get("cudnnGetConvolutionBackwardFilterAlgorithm_v7", Direction::backward_filter, handle,
             {srcDesc, gradDesc, convDesc, diffDesc}, requestedAlgoCount, returnedAlgoCount, perfResults);
}

cudnnStatus_t cudnnFindConvolutionForwardAlgorithmEx(
    cudnnHandle_t handle, const cudnnTensorDescriptor_t xDesc, const void* x,
    const cudnnFilterDescriptor_t wDesc, const void* w, const cudnnConvolutionDescriptor_t convDesc,
    const cudnnTensorDescriptor_t yDesc, void* y, const int requestedAlgoCount, int* returnedAlgoCount,
    cudnnConvolutionFwdAlgoPerf_t* perfResults, void* workSpace, size_t workSpaceSizeInBytes) {
  return find("cudnnFindConvolutionForwardAlgorithmEx", Direction::forward, handle,
              {xDesc, wDesc, convDesc, yDesc},
              {.x = writable(x), .filter = writable(w), .y = y, .workspace = workSpace}, workSpaceSizeInBytes,
              requestedAlgoCount, returnedAlgoCount, perfResults);
}

cudnnStatus_t cudnnFindConvolutionBackwardDataAlgorithmEx(
    cudnnHandle_t handle, const cudnnFilterDescriptor_t wDesc, const void* w,
    const cudnnTensorDescriptor_t dyDesc, const void* dy, const cudnnConvolutionDescriptor_t convDesc,
    const cudnnTensorDescriptor_t dxDesc, void* dx, const int requestedAlgoCount, int* returnedAlgoCount,
    cudnnConvolutionBwdDataAlgoPerf_t* perfResults, void* workSpace, size_t workSpaceSizeInBytes) {
  return find("cudnnFindConvolutionBackwardDataAlgorithmEx", Direction::backward_data, handle,
              {dxDesc, wDesc, convDesc, dyDesc},
              {.x = dx, .filter = writable(w), .y = writable(dy), .workspace = workSpace},
              workSpaceSizeInBytes, requestedAlgoCount, returnedAlgoCount, perfResults);
}

cudnnStatus_t cudnnFindConvolutionBackwardFilterAlgorithmEx(
    cudnnHandle_t handle, const cudnnTensorDescriptor_t xDesc, const void* x,
    const cudnnTensorDescriptor_t dyDesc, const void* y, const cudnnConvolutionDescriptor_t convDesc,
    const cudnnFilterDescriptor_t dwDesc, void* dw, const int requestedAlgoCount, int* returnedAlgoCount,
    cudnnConvolutionBwdFilterAlgoPerf_t* perfResults, void* workSpace, size_t workSpaceSizeInBytes) {
  return find("cudnnFindConvolutionBackwardFilterAlgorithmEx", Direction::backward_filter, handle,
              {xDesc, dwDesc, convDesc, dyDesc},
              {.x = writable(x), .filter = dw, .y = writable(y), .workspace = workSpace},
              workSpaceSizeInBytes, requestedAlgoCount, returnedAlgoCount, perfResults);
}
