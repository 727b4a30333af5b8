// One convolution through the emulated cuDNN, with its graph, its operands and plain sums to compare with.
#pragma once

#include <algorithm>
#include <array>
#include <optional>
#include <string>

#include "cuda/cudnn_descriptor.h"
#include "tests/emulation/libraries_checks.h"

namespace generous::testing {

using cuda::CudnnError;
using cuda::Descriptor;
using CudnnHandle = Owned<cudnnHandle_t, cudnnCreate, cudnnDestroy>;

enum class Direction { forward, backward_data, backward_filter };
inline constexpr std::array directions{Direction::forward, Direction::backward_data,
                                       Direction::backward_filter};

/// The extents and attributes of a convolution; c and k count the channels of all groups.
struct Convolution {
  int n = 2, c = 6, h = 5, w = 7;
  int k = 4, r = 3, s = 2;
  int groups = 1;
  int pad_h = 1, pad_w = 0;
  int stride_h = 1, stride_w = 2;
  int dilation_h = 1, dilation_w = 1;
  DType dtype = DType::f32;
  bool nchw = false;  ///< how all tensors lie in memory
  cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;

  int p() const { return (h + 2 * pad_h - (r - 1) * dilation_h - 1) / stride_h + 1; }
  int q() const { return (w + 2 * pad_w - (s - 1) * dilation_w - 1) / stride_w + 1; }
  std::size_t size_x() const { return static_cast<std::size_t>(n * h * w * c); }
  std::size_t size_w() const { return static_cast<std::size_t>(k * r * s * (c / groups)); }
  std::size_t size_y() const { return static_cast<std::size_t>(n * p() * q() * k); }
  cudnnDataType_t type() const { return dtype == DType::f32 ? CUDNN_DATA_FLOAT : CUDNN_DATA_BFLOAT16; }

  /// Where element (a, b, i, j) of an array {.., channels, height, width} lies in memory.
  std::size_t at(int a, int b, int i, int j, int channels, int height, int width) const {
    return static_cast<std::size_t>(nchw ? ((a * channels + b) * height + i) * width + j
                                         : ((a * height + i) * width + j) * channels + b);
  }

  /// Calls f(index into x, into w, into y) for every product of the convolution, by its definition.
  template <class F>
  void for_each_product(F&& f) const {
    const int group_c = c / groups, group_k = k / groups;
    for (int image = 0; image < n; ++image)
      for (int out = 0; out < k; ++out)
        for (int in = 0; in < group_c; ++in)
          for (int py = 0; py < p(); ++py)
            for (int px = 0; px < q(); ++px)
              for (int fy = 0; fy < r; ++fy)
                for (int fx = 0; fx < s; ++fx) {
                  const bool turned = mode == CUDNN_CONVOLUTION;
                  const int y = py * stride_h - pad_h + (turned ? r - 1 - fy : fy) * dilation_h;
                  const int x = px * stride_w - pad_w + (turned ? s - 1 - fx : fx) * dilation_w;
                  if (y < 0 || y >= h || x < 0 || x >= w) continue;
                  f(at(image, out / group_k * group_c + in, y, x, c, h, w),
                    at(out, in, fy, fx, group_c, r, s), at(image, out, py, px, k, p(), q()));
                }
  }
};

/// A tensor's descriptor, not finalised yet; `dims` {n, c, h, w}.
inline Descriptor tensor(std::int64_t id, cudnnDataType_t type, const std::vector<std::int64_t>& dims,
                         bool nchw, bool in_memory = true) {
  const std::int64_t c = dims[1], h = dims[2], w = dims[3];
  Descriptor result(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  result.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, id)
      .set(CUDNN_ATTR_TENSOR_DATA_TYPE, type)
      .set(CUDNN_ATTR_TENSOR_DIMENSIONS, dims)
      .set(CUDNN_ATTR_TENSOR_STRIDES, nchw ? std::vector{c * h * w, h * w, w, std::int64_t{1}}
                                           : std::vector{c * h * w, std::int64_t{1}, w * c, c})
      .set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, std::int64_t{4})
      .set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, !in_memory);
  return result;
}

/// The parts of a convolution's graph; a test may put others in their place before it asks for the graph.
/// Ids: 1 x, 2 w, 3 y.
struct Parts {
  explicit Parts(const Convolution& of)
      : x(tensor(1, of.type(), {of.n, of.c, of.h, of.w}, of.nchw)),
        w(tensor(2, of.type(), {of.k, of.c / of.groups, of.r, of.s}, of.nchw)),
        y(tensor(3, of.type(), {of.n, of.k, of.p(), of.q()}, of.nchw)),
        convolution(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR) {
    const auto both = [](int vertical, int horizontal) {
      return std::vector<std::int64_t>{vertical, horizontal};
    };
    convolution.set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_DATA_FLOAT)
        .set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, of.mode)
        .set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, std::int64_t{2})
        .set(CUDNN_ATTR_CONVOLUTION_DILATIONS, both(of.dilation_h, of.dilation_w))
        .set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, both(of.stride_h, of.stride_w))
        .set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, both(of.pad_h, of.pad_w))
        .set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, both(of.pad_h, of.pad_w));
  }

  Descriptor x, w, y, convolution;
};

/// The finalised operation of a direction. Throws CudnnError.
inline Descriptor operation(Direction direction, Parts parts, float alpha = 1.0F, float beta = 0.0F) {
  constexpr std::array types{CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
                             CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
                             CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR};
  constexpr std::array<std::array<cudnnBackendAttributeName_t, 6>, 3> names{
      {{CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA,
        CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
        CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y},
       {CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA,
        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY},
       {CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA,
        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY}}};
  const auto index = static_cast<std::size_t>(direction);
  const auto& name = names[index];
  Descriptor result(types[index]);
  result.set(name[0], alpha)
      .set(name[1], beta)
      .set(name[2], parts.convolution.finalize())
      .set(name[3], parts.x.finalize())
      .set(name[4], parts.w.finalize())
      .set(name[5], parts.y.finalize());
  return result.finalize();
}

inline Descriptor graph(const std::vector<Descriptor>& operations) {
  Descriptor result(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  return result.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, operations).finalize();
}

/// What the heuristics of a mode offer, best first.
inline std::vector<Descriptor> configs(const Descriptor& of,
                                       cudnnBackendHeurMode_t mode = CUDNN_HEUR_MODE_A) {
  Descriptor heuristics(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, of).set(CUDNN_ATTR_ENGINEHEUR_MODE, mode).finalize();
  return heuristics.get_descriptors(CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
}

inline Descriptor engine_of(const Descriptor& config) {
  return config.get_descriptors(CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_BACKEND_ENGINE_DESCRIPTOR).at(0);
}
inline std::int64_t number_of(const Descriptor& config) {
  return engine_of(config).get<std::int64_t>(CUDNN_ATTR_ENGINE_GLOBAL_INDEX).at(0);
}

/// The numbers of the engines that either mode offers.
inline std::vector<std::int64_t> engines(const Descriptor& of) {
  std::vector<std::int64_t> numbers;
  for (const auto mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK})
    for (const Descriptor& config : configs(of, mode))
      if (std::count(numbers.begin(), numbers.end(), number_of(config)) == 0)
        numbers.push_back(number_of(config));
  return numbers;
}

/// A plan by the engine of this number. Throws CudnnError.
inline Descriptor plan(cudnnHandle_t handle, const Descriptor& of, std::int64_t engine) {
  for (const auto mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK})
    for (const Descriptor& config : configs(of, mode)) {
      if (number_of(config) != engine) continue;
      Descriptor result(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
      result.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, handle)
          .set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config);
      return result.finalize();
    }
  FAIL("no engine " << engine);
  throw std::logic_error("not reached");
}

inline std::size_t workspace_of(const Descriptor& plan) {
  return static_cast<std::size_t>(plan.get<std::int64_t>(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE).at(0));
}

inline cudnnStatus_t execute(cudnnHandle_t handle, const Descriptor& plan,
                             const std::vector<std::int64_t>& ids, const std::vector<void*>& pointers,
                             void* workspace) {
  Descriptor pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
  pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, ids)
      .set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, pointers)
      .set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, workspace)
      .finalize();
  return cudnnBackendExecute(handle, plan.raw(), pack.raw());
}

/// Operands of a convolution on the device, and more workspace than any engine needs.
struct Operands {
  explicit Operands(const Convolution& of)
      : x(scattered(of.size_x(), 1), of.dtype),
        w(scattered(of.size_w(), 2), of.dtype),
        y(scattered(of.size_y(), 3), of.dtype),
        workspace(std::vector<float>(std::size_t{1} << 16)) {}
  cudnnStatus_t execute(cudnnHandle_t handle, const Descriptor& plan) const {
    return testing::execute(handle, plan, {1, 2, 3}, {x.data(), w.data(), y.data()}, workspace.data());
  }
  DeviceArray x, w, y, workspace;
};

/// The status with which `work` is refused, or success.
template <class Work>
cudnnStatus_t status_of(Work&& work) {
  try {
    work();
  } catch (const CudnnError& error) {
    return error.status();
  }
  return CUDNN_STATUS_SUCCESS;
}

}  // namespace generous::testing
