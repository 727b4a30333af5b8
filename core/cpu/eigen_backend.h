// The readable implementation of every kernel: C++ loops, Eigen for matrix products. Contracts:
// core/backend.h. The kernels are in the files named after them beside this one.
#pragma once

#include "core/backend.h"

namespace generous {

class EigenBackend : public Backend {
 public:
  std::string description() const override;
  std::string why_no_bf16() const override;
  void choose_algorithms(const AlgorithmChoice&) override {}  // there is one algorithm
  void synchronize() override {}                              // kernels are complete when they return
  std::unique_ptr<RecordedWork> record(const std::function<void()>& work) override;

  std::string device_id() const override { return "the CPU"; }
  CommunicatorId make_communicator_id() override;
  std::unique_ptr<Communicator> connect(const CommunicatorId& id, int rank, int size) override;

  const std::shared_ptr<CachingAllocator>& allocator() const override { return host_allocator(); }
  void copy_to_host(const Tensor& x, void* host) override;
  void copy_from_host(const void* host, Tensor& y) override;
  void copy(const Tensor& x, Tensor& y) override;
  void fill(Tensor& y, double value) override;
  void cast(const Tensor& x, Tensor& y) override;

  void unary(Unary op, const Tensor& x, Tensor& y) override;
  void unary_backward(Unary op, const Tensor& x, const Tensor& y, const Tensor& dy, Tensor& dx) override;
  void binary(Binary op, const Tensor& a, const Tensor& b, Tensor& y) override;
  void binary_backward(Binary op, const Tensor& a, const Tensor& b, const Tensor& dy, Tensor& da,
                       Tensor& db) override;
  void affine(const Tensor& x, float scale, float shift, Tensor& y) override;
  void accumulate(const Tensor& x, Tensor& y) override;
  void dropout(const Tensor& x, const DropoutParams& params, Tensor& y) override;

  void broadcast(const Tensor& x, Tensor& y) override;
  void sum_to(const Tensor& x, Tensor& y) override;

  void rearrange_channels(std::int64_t groups, std::span<const ChannelPart> from,
                          std::span<const ChannelPart> to) override;

  void log_softmax(const Tensor& x, Tensor& y) override;
  void log_softmax_backward(const Tensor& y, const Tensor& dy, Tensor& dx) override;
  void cross_entropy(const Tensor& x, const Tensor& labels, Tensor& probabilities, Tensor& loss) override;
  void cross_entropy_backward(const Tensor& probabilities, const Tensor& labels, const Tensor& dloss,
                              Tensor& dx) override;
  void one_hot(const Tensor& labels, Tensor& y) override;
  void store_scalars(std::span<const Tensor> scalars, Tensor& count, Tensor& table) override;
  void argmax_rows(const Tensor& x, Tensor& y) override;
  Tensor count_top_k(const Tensor& x, const Tensor& labels, std::int64_t k) override;

  void gemm(const GemmParams& params, const Tensor& a, const Tensor& b, Tensor& c) override;
  void conv2d(const Conv2dParams& params, const Tensor& x, const Tensor& weight, const Tensor& bias,
              Tensor& y) override;
  void conv2d_inference(const Conv2dParams& params, const Tensor& x, FrozenFilter& filter,
                        const Conv2dEpilogue& epilogue, Tensor& y) override;
  void conv2d_add(const Conv2dParams& params, const Tensor& x, const Tensor& weight, const Tensor& residual,
                  Tensor& y) override;
  void conv2d_backward_data(const Conv2dParams& params, const Tensor& dy, const Tensor& weight,
                            Tensor& dx) override;
  void accumulate_conv2d_backward_data(const Conv2dParams& params, const Tensor& dy, const Tensor& weight,
                                       Tensor& dx) override;
  void conv2d_backward_weight(const Conv2dParams& params, const Tensor& x, const Tensor& dy,
                              Tensor& dweight) override;
  DType weight_gradient_dtype(DType) const override { return DType::f32; }
  void max_pool(const Pool2dParams& params, const Tensor& x, Tensor& y, Tensor& chosen) override;
  void max_pool_backward(const Pool2dParams& params, const Tensor& dy, const Tensor& chosen,
                         Tensor& dx) override;
  void avg_pool(const Pool2dParams& params, const Tensor& x, Tensor& y) override;
  void avg_pool_backward(const Pool2dParams& params, const Tensor& dy, Tensor& dx) override;

  void resample_nearest(const Tensor& x, Tensor& y) override;
  void resample_nearest_backward(const Tensor& dy, Tensor& dx) override;
  void adaptive_avg_pool(const Tensor& x, Tensor& y) override;
  void adaptive_avg_pool_backward(const Tensor& dy, Tensor& dx) override;
  void gather_rows(const Tensor& x, const Tensor& indices, Tensor& y) override;
  void gather_rows_backward(const Tensor& indices, const Tensor& dy, Tensor& dx) override;

  void draw_negatives(const Tensor& labels, const NegativeDraws& draws, Tensor& y) override;

  void batch_norm_train(const BatchNormParams& params, const BatchNormInputs& in,
                        BatchNormStatistics& running, Tensor& mean, Tensor& inverse_std, Tensor& y) override;
  void batch_norm_eval(const BatchNormParams& params, const BatchNormInputs& in,
                       const BatchNormStatistics& running, Tensor& y) override;
  void batch_norm_backward(const BatchNormParams& params, const BatchNormSaved& saved, const Tensor& dy,
                           BatchNormGradients& out) override;

  void sgd_step(const SgdParams& params, const Tensor& learning_rate,
                std::span<const SgdUpdate> updates) override;
  void adam_step(const AdamParams& params, const Tensor& learning_rate,
                 std::span<const AdamUpdate> updates) override;

  void augment(const AugmentInputs& in, Tensor& y) override;

 protected:
  /// y = activation(y [+ residual]) in one pass, or none.
  static void apply(const Conv2dEpilogue& epilogue, Tensor& y);

 private:
  /// A copy of a bf16 tensor in f32, for kernels that compute from and to f32 tensors.
  Tensor to_f32(const Tensor& x);
  /// f32 values as bf16 has them: what a convolution of bf16 images multiplies by.
  Tensor rounded_to_bf16(const Tensor& x);
};

/// "AVX-512, 2 threads": what this build was compiled for and runs with.
std::string cpu_description();

}  // namespace generous
