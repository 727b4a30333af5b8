// cuDNN's calls for the three directions of a convolution, under the same names and with the same order of
// arguments, so that what is done with them is written once.
#pragma once

#include "cuda/cudnn_plan.h"

namespace generous::cuda {

struct ForwardCalls {
  using Algorithm = cudnnConvolutionFwdAlgo_t;
  using Record = cudnnConvolutionFwdAlgoPerf_t;
  static constexpr int algorithms = CUDNN_CONVOLUTION_FWD_ALGO_COUNT;

  /// Algorithms that multiply less and round more.
  static bool transforms(Algorithm a) {
    return a == CUDNN_CONVOLUTION_FWD_ALGO_FFT || a == CUDNN_CONVOLUTION_FWD_ALGO_FFT_TILING ||
           a == CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD || a == CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD_NONFUSED;
  }
  static cudnnStatus_t predict(cudnnHandle_t library, const ConvolutionDescriptors& d, int wanted, int* count,
                               Record* records) {
    return cudnnGetConvolutionForwardAlgorithm_v7(library, d.x.get(), d.weight.get(), d.convolution.get(),
                                                  d.y.get(), wanted, count, records);
  }
  static cudnnStatus_t measure(cudnnHandle_t library, const ConvolutionDescriptors& d,
                               const ConvolutionOperands& on, int wanted, int* count, Record* records,
                               void* workspace, std::size_t bytes) {
    return cudnnFindConvolutionForwardAlgorithmEx(library, d.x.get(), on.x, d.weight.get(), on.weight,
                                                  d.convolution.get(), d.y.get(), on.y, wanted, count,
                                                  records, workspace, bytes);
  }
  static cudnnStatus_t workspace(cudnnHandle_t library, const ConvolutionDescriptors& d, Algorithm algorithm,
                                 std::size_t* bytes) {
    return cudnnGetConvolutionForwardWorkspaceSize(library, d.x.get(), d.weight.get(), d.convolution.get(),
                                                   d.y.get(), algorithm, bytes);
  }
  static cudnnStatus_t run(cudnnHandle_t library, const ConvolutionDescriptors& d, Algorithm algorithm,
                           const ConvolutionOperands& on, void* workspace, std::size_t bytes) {
    const float one = 1.0F;
    const float zero = 0.0F;
    return cudnnConvolutionForward(library, &one, d.x.get(), on.x, d.weight.get(), on.weight,
                                   d.convolution.get(), algorithm, workspace, bytes, &zero, d.y.get(), on.y);
  }
};

struct BackwardDataCalls {
  using Algorithm = cudnnConvolutionBwdDataAlgo_t;
  using Record = cudnnConvolutionBwdDataAlgoPerf_t;
  static constexpr int algorithms = CUDNN_CONVOLUTION_BWD_DATA_ALGO_COUNT;

  static bool transforms(Algorithm a) {
    return a == CUDNN_CONVOLUTION_BWD_DATA_ALGO_FFT || a == CUDNN_CONVOLUTION_BWD_DATA_ALGO_FFT_TILING ||
           a == CUDNN_CONVOLUTION_BWD_DATA_ALGO_WINOGRAD ||
           a == CUDNN_CONVOLUTION_BWD_DATA_ALGO_WINOGRAD_NONFUSED;
  }
  static cudnnStatus_t predict(cudnnHandle_t library, const ConvolutionDescriptors& d, int wanted, int* count,
                               Record* records) {
    return cudnnGetConvolutionBackwardDataAlgorithm_v7(
        library, d.weight.get(), d.y.get(), d.convolution.get(), d.x.get(), wanted, count, records);
  }
  static cudnnStatus_t measure(cudnnHandle_t library, const ConvolutionDescriptors& d,
                               const ConvolutionOperands& on, int wanted, int* count, Record* records,
                               void* workspace, std::size_t bytes) {
    return cudnnFindConvolutionBackwardDataAlgorithmEx(library, d.weight.get(), on.weight, d.y.get(), on.y,
                                                       d.convolution.get(), d.x.get(), on.x, wanted, count,
                                                       records, workspace, bytes);
  }
  static cudnnStatus_t workspace(cudnnHandle_t library, const ConvolutionDescriptors& d, Algorithm algorithm,
                                 std::size_t* bytes) {
    return cudnnGetConvolutionBackwardDataWorkspaceSize(library, d.weight.get(), d.y.get(),
                                                        d.convolution.get(), d.x.get(), algorithm, bytes);
  }
  static cudnnStatus_t run(cudnnHandle_t library, const ConvolutionDescriptors& d, Algorithm algorithm,
                           const ConvolutionOperands& on, void* workspace, std::size_t bytes) {
    const float one = 1.0F;
    const float zero = 0.0F;
    return cudnnConvolutionBackwardData(library, &one, d.weight.get(), on.weight, d.y.get(), on.y,
                                        d.convolution.get(), algorithm, workspace, bytes, &zero, d.x.get(),
                                        on.x);
  }
};

struct BackwardWeightCalls {
  using Algorithm = cudnnConvolutionBwdFilterAlgo_t;
  using Record = cudnnConvolutionBwdFilterAlgoPerf_t;
  static constexpr int algorithms = CUDNN_CONVOLUTION_BWD_FILTER_ALGO_COUNT;

  static bool transforms(Algorithm a) {
    return a == CUDNN_CONVOLUTION_BWD_FILTER_ALGO_FFT || a == CUDNN_CONVOLUTION_BWD_FILTER_ALGO_FFT_TILING ||
           a == CUDNN_CONVOLUTION_BWD_FILTER_ALGO_WINOGRAD ||
           a == CUDNN_CONVOLUTION_BWD_FILTER_ALGO_WINOGRAD_NONFUSED;
  }
  static cudnnStatus_t predict(cudnnHandle_t library, const ConvolutionDescriptors& d, int wanted, int* count,
                               Record* records) {
    return cudnnGetConvolutionBackwardFilterAlgorithm_v7(library, d.x.get(), d.y.get(), d.convolution.get(),
                                                         d.weight.get(), wanted, count, records);
  }
  static cudnnStatus_t measure(cudnnHandle_t library, const ConvolutionDescriptors& d,
                               const ConvolutionOperands& on, int wanted, int* count, Record* records,
                               void* workspace, std::size_t bytes) {
    return cudnnFindConvolutionBackwardFilterAlgorithmEx(library, d.x.get(), on.x, d.y.get(), on.y,
                                                         d.convolution.get(), d.weight.get(), on.weight,
                                                         wanted, count, records, workspace, bytes);
  }
  static cudnnStatus_t workspace(cudnnHandle_t library, const ConvolutionDescriptors& d, Algorithm algorithm,
                                 std::size_t* bytes) {
    return cudnnGetConvolutionBackwardFilterWorkspaceSize(library, d.x.get(), d.y.get(), d.convolution.get(),
                                                          d.weight.get(), algorithm, bytes);
  }
  static cudnnStatus_t run(cudnnHandle_t library, const ConvolutionDescriptors& d, Algorithm algorithm,
                           const ConvolutionOperands& on, void* workspace, std::size_t bytes) {
    const float one = 1.0F;
    const float zero = 0.0F;
    return cudnnConvolutionBackwardFilter(library, &one, d.x.get(), on.x, d.y.get(), on.y,
                                          d.convolution.get(), algorithm, workspace, bytes, &zero,
                                          d.weight.get(), on.weight);
  }
};

/// Calls f with the calls of a direction.
template <class F>
auto visit(Direction direction, F&& f) {
  switch (direction) {
    case Direction::backward_data:
      return f(BackwardDataCalls{});
    case Direction::backward_weight:
      return f(BackwardWeightCalls{});
    default:
      return f(ForwardCalls{});
  }
}

}  // namespace generous::cuda
