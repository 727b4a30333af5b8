// The convolutions of the emulated cuDNN: arguments checked and copied at the call, the work enqueued on the
// stream of the handle.
#include <fmt/format.h>

#include "cudnn_problem.h"
#include "libraries.h"

namespace generous::emulation {
namespace {

/// Where the operands of a call lie; what is only read loses its const here and is only read.
struct Pointers {
  const void* x;
  const void* filter;
  const void* y;
};

/// Fills `problem` if the algorithm takes what the descriptors say, math type included.
cudnnStatus_t examine_all(std::string_view call, Direction direction, const Descriptors& descriptors,
                          int algorithm, Problem& problem) {
  if (const cudnnStatus_t status = examine(call, direction, descriptors, problem);
      status != CUDNN_STATUS_SUCCESS)
    return status;
  if (needs_other_math(problem))
    return refuse(CUDNN_STATUS_NOT_SUPPORTED,
                  fmt::format("{}: bf16 needs the math type that the performance record names", call));
  return examine_algorithm(call, problem, algorithm);
}

cudnnStatus_t convolve(std::string_view call, Direction direction, cudnnHandle_t handle, const void* alpha,
                       const void* beta, const Descriptors& descriptors, const Pointers& pointers,
                       int algorithm, void* workspace, std::size_t bytes) {
  if (handle == nullptr) return refuse(CUDNN_STATUS_BAD_PARAM, fmt::format("{}: null handle", call));
  if (alpha == nullptr || beta == nullptr)
    return refuse(CUDNN_STATUS_BAD_PARAM, fmt::format("{}: null alpha or beta", call));
  if (pointers.x == nullptr || pointers.filter == nullptr || pointers.y == nullptr)
    return refuse(CUDNN_STATUS_BAD_PARAM, fmt::format("{}: null data", call));
  Problem problem;
  if (const cudnnStatus_t status = examine_all(call, direction, descriptors, algorithm, problem);
      status != CUDNN_STATUS_SUCCESS)
    return status;
  if (const std::size_t needed = workspace_bytes(problem, algorithm);
      bytes < needed || (needed != 0 && workspace == nullptr))
    return refuse(CUDNN_STATUS_BAD_PARAM,
                  fmt::format("{}: algorithm {} needs a workspace of {} bytes, given {} at {}", call,
                              algorithm, needed, bytes, workspace));
  const Operands operands{.alpha = *static_cast<const float*>(alpha),
                          .beta = *static_cast<const float*>(beta),
                          .x = const_cast<void*>(pointers.x),
                          .filter = const_cast<void*>(pointers.filter),
                          .y = const_cast<void*>(pointers.y),
                          .workspace = workspace};
  const bool accepted =
      submit(handle->stream, call, [problem, algorithm, operands] { run(problem, algorithm, operands); });
  if (!accepted)
    return refuse(CUDNN_STATUS_EXECUTION_FAILED, fmt::format("{}: the stream takes no work", call));
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t workspace_size(std::string_view call, Direction direction, cudnnHandle_t handle,
                             const Descriptors& descriptors, int algorithm, std::size_t* bytes) {
  if (handle == nullptr || bytes == nullptr)
    return refuse(CUDNN_STATUS_BAD_PARAM, fmt::format("{}: null argument", call));
  Problem problem;
  if (const cudnnStatus_t status = examine_all(call, direction, descriptors, algorithm, problem);
      status != CUDNN_STATUS_SUCCESS)
    return status;
  *bytes = workspace_bytes(problem, algorithm);
  return CUDNN_STATUS_SUCCESS;
}

}  // namespace
}  // namespace generous::emulation

using namespace generous::emulation;

cudnnStatus_t cudnnGetConvolution2dForwardOutputDim(const cudnnConvolutionDescriptor_t convDesc,
                                                    const cudnnTensorDescriptor_t inputTensorDesc,
                                                    const cudnnFilterDescriptor_t filterDesc, int* n, int* c,
                                                    int* h, int* w) {
  const char* call = "cudnnGetConvolution2dForwardOutputDim";
  if (n == nullptr || c == nullptr || h == nullptr || w == nullptr)
    return refuse(CUDNN_STATUS_BAD_PARAM, fmt::format("{}: no place for the result", call));
  int extents[4] = {};
  const cudnnStatus_t status = output_extents(call, convDesc, inputTensorDesc, filterDesc, extents);
  if (status != CUDNN_STATUS_SUCCESS) return status;
  *n = extents[0];
  *c = extents[1];
  *h = extents[2];
  *w = extents[3];
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnGetConvolutionForwardWorkspaceSize(cudnnHandle_t handle,
                                                      const cudnnTensorDescriptor_t xDesc,
                                                      const cudnnFilterDescriptor_t wDesc,
                                                      const cudnnConvolutionDescriptor_t convDesc,
                                                      const cudnnTensorDescriptor_t yDesc,
                                                      cudnnConvolutionFwdAlgo_t algo, size_t* sizeInBytes) {
  return workspace_size("cudnnGetConvolutionForwardWorkspaceSize", Direction::forward, handle,
                        {xDesc, wDesc, convDesc, yDesc}, algo, sizeInBytes);
}

cudnnStatus_t cudnnGetConvolutionBackwardDataWorkspaceSize(
    cudnnHandle_t handle, const cudnnFilterDescriptor_t wDesc, const cudnnTensorDescriptor_t dyDesc,
    const cudnnConvolutionDescriptor_t convDesc, const cudnnTensorDescriptor_t dxDesc,
    cudnnConvolutionBwdDataAlgo_t algo, size_t* sizeInBytes) {
  return workspace_size("cudnnGetConvolutionBackwardDataWorkspaceSize", Direction::backward_data, handle,
                        {dxDesc, wDesc, convDesc, dyDesc}, algo, sizeInBytes);
}

cudnnStatus_t cudnnGetConvolutionBackwardFilterWorkspaceSize(
    cudnnHandle_t handle, const cudnnTensorDescriptor_t xDesc, const cudnnTensorDescriptor_t dyDesc,
    const cudnnConvolutionDescriptor_t convDesc, const cudnnFilterDescriptor_t gradDesc,
    cudnnConvolutionBwdFilterAlgo_t algo, size_t* sizeInBytes) {
  return workspace_size("cudnnGetConvolutionBackwardFilterWorkspaceSize", Direction::backward_filter, handle,
                        {xDesc, gradDesc, convDesc, dyDesc}, algo, sizeInBytes);
}

cudnnStatus_t cudnnConvolutionForward(cudnnHandle_t handle, const void* alpha,
                                      const cudnnTensorDescriptor_t xDesc, const void* x,
                                      const cudnnFilterDescriptor_t wDesc, const void* w,
                                      const cudnnConvolutionDescriptor_t convDesc,
                                      cudnnConvolutionFwdAlgo_t algo, void* workSpace,
                                      size_t workSpaceSizeInBytes, const void* beta,
                                      const cudnnTensorDescriptor_t yDesc, void* y) {
  return convolve("cudnnConvolutionForward", Direction::forward, handle, alpha, beta,
                  {xDesc, wDesc, convDesc, yDesc}, {x, w, y}, algo, workSpace, workSpaceSizeInBytes);
}

cudnnStatus_t cudnnConvolutionBackwardData(cudnnHandle_t handle, const void* alpha,
                                           const cudnnFilterDescriptor_t wDesc, const void* w,
                                           const cudnnTensorDescriptor_t dyDesc, const void* dy,
                                           const cudnnConvolutionDescriptor_t convDesc,
                                           cudnnConvolutionBwdDataAlgo_t algo, void* workSpace,
                                           size_t workSpaceSizeInBytes, const void* beta,
                                           const cudnnTensorDescriptor_t dxDesc, void* dx) {
  return convolve("cudnnConvolutionBackwardData", Direction::backward_data, handle, alpha, beta,
                  {dxDesc, wDesc, convDesc, dyDesc}, {dx, w, dy}, algo, workSpace, workSpaceSizeInBytes);
}

cudnnStatus_t cudnnConvolutionBackwardFilter(cudnnHandle_t handle, const void* alpha,
                                             const cudnnTensorDescriptor_t xDesc, const void* x,
                                             const cudnnTensorDescriptor_t dyDesc, const void* dy,
                                             const cudnnConvolutionDescriptor_t convDesc,
                                             cudnnConvolutionBwdFilterAlgo_t algo, void* workSpace,
                                             size_t workSpaceSizeInBytes, const void* beta,
                                             const cudnnFilterDescriptor_t dwDesc, void* dw) {
  return convolve("cudnnConvolutionBackwardFilter", Direction::backward_filter, handle, alpha, beta,
                  {xDesc, dwDesc, convDesc, dyDesc}, {x, dw, dy}, algo, workSpace, workSpaceSizeInBytes);
}
