// Convolution, pooling and matrix products by oneDNN; everything else is the readable implementation's.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <vector>

#include "core/cpu/eigen_backend.h"
#include "core/cpu/onednn_common.h"

namespace generous {

namespace onednn {

/// One direction of one convolution shape, ready to run.
struct Convolution {
  dnnl::primitive primitive;
  memory::desc plain_weights;  ///< OHWI
  memory weights;              ///< a buffer in oneDNN's layout; empty when that is OHWI itself
  dnnl::reorder reorder;       ///< between the two: towards oneDNN's, or from it for backward weights
};

/// One direction of one pooling shape, ready to run.
struct Pooling {
  dnnl::primitive primitive;
  memory::desc workspace;  ///< max pooling: where each maximum was
};

/// A frozen filter in the forms wanted by the convolutions that ran with it, each made at its first use.
struct PreparedConvolution final : PreparedFilter {
  std::vector<memory> layouts;
  Tensor winograd;  ///< winograd.h
};

/// The two ways to compute one convolution.
struct Contest {
  bool possible;  ///< whether Winograd's algorithm applies
  bool rule;      ///< whether it is known to be faster
  std::function<void()> winograd;
  std::function<void()> direct;
};

struct ConvolutionGeometry;

}  // namespace onednn

/// Primitives are created once per shape and dtype and kept. Not for use from several threads at once.
class OneDnnBackend final : public EigenBackend {
 public:
  std::string description() const override;
  std::string why_no_bf16() const override;
  void choose_algorithms(const AlgorithmChoice& choice) override { choice_ = choice.convolutions; }

  void gemm(const GemmParams& params, const Tensor& a, const Tensor& b, Tensor& c) override;
  void conv2d(const Conv2dParams& params, const Tensor& x, const Tensor& weight, const Tensor& bias,
              Tensor& y) override;
  void conv2d_inference(const Conv2dParams& params, const Tensor& x, FrozenFilter& filter,
                        const Conv2dEpilogue& epilogue, Tensor& y) override;
  void conv2d_backward_data(const Conv2dParams& params, const Tensor& dy, const Tensor& weight,
                            Tensor& dx) override;
  void conv2d_backward_weight(const Conv2dParams& params, const Tensor& x, const Tensor& dy,
                              Tensor& dweight) override;
  void max_pool(const Pool2dParams& params, const Tensor& x, Tensor& y, Tensor& chosen) override;
  void max_pool_backward(const Pool2dParams& params, const Tensor& dy, const Tensor& chosen,
                         Tensor& dx) override;
  void avg_pool(const Pool2dParams& params, const Tensor& x, Tensor& y) override;
  void avg_pool_backward(const Pool2dParams& params, const Tensor& dy, Tensor& dx) override;

 private:
  /// What an operation is and what it works on: its kind, extents, parameters.
  using Key = std::array<std::int64_t, 13>;

  onednn::Convolution& convolution(const Key& key, const onednn::ConvolutionGeometry& geometry);
  onednn::Pooling& pooling(std::int64_t kind, const Pool2dParams& params, const Tensor& x, const Tensor& y);

  /// Runs the algorithm that `choice_` makes of it.
  void run(const onednn::Contest& contest, const Key& key);

  ConvolutionChoice choice_ = ConvolutionChoice::by_rule;
  std::map<Key, bool> measured_;  ///< whether Winograd's algorithm won
  std::map<Key, onednn::Convolution> convolutions_;
  std::map<Key, onednn::Pooling> poolings_;
};

}  // namespace generous
