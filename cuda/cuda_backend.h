// The CUDA backend: cuDNN for convolutions, cuBLAS for matrix products, own kernels for the rest. Contracts:
// core/backend.h. The kernels are in the .cu files named after them beside this one; every one of them is
// started on one stream, in the order of the calls.
#pragma once

#include <cuda_runtime.h>

#include <memory>
#include <optional>

#include "core/backend.h"
#include "cuda/launch.h"

namespace generous::cuda {

struct ConvolutionProblem;
struct ConvolutionOperands;
struct ConvolutionWork;
struct PaddedImages;

class CudaBackend final : public Backend {
 public:
  /// Of the visible GPU of this number, from 0. Throws Error that says what is missing when there is none, or
  /// none that this build or its libraries fit.
  explicit CudaBackend(int number);
  ~CudaBackend() override;

  // cuda_backend.cpp, memory.cpp, graph.cpp
  std::string description() const override;
  std::string why_no_bf16() const override;
  void choose_algorithms(const AlgorithmChoice& choice) override;
  void synchronize() override;
  std::unique_ptr<RecordedWork> record(const std::function<void()>& work) override;
  std::string device_id() const override;
  CommunicatorId make_communicator_id() override;
  std::unique_ptr<Communicator> connect(const CommunicatorId& id, int rank, int size) override;
  const std::shared_ptr<CachingAllocator>& allocator() const override;
  void copy_to_host(const Tensor& x, void* host) override;
  void copy_from_host(const void* host, Tensor& y) override;
  void copy(const Tensor& x, Tensor& y) override;

  // elementwise.cu
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

  // reduce.cu
  void broadcast(const Tensor& x, Tensor& y) override;
  void sum_to(const Tensor& x, Tensor& y) override;

  // channels.cu
  void rearrange_channels(std::int64_t groups, std::span<const ChannelPart> from,
                          std::span<const ChannelPart> to) override;

  // softmax.cu
  void log_softmax(const Tensor& x, Tensor& y) override;
  void log_softmax_backward(const Tensor& y, const Tensor& dy, Tensor& dx) override;
  void cross_entropy(const Tensor& x, const Tensor& labels, Tensor& probabilities, Tensor& loss) override;
  void cross_entropy_backward(const Tensor& probabilities, const Tensor& labels, const Tensor& dloss,
                              Tensor& dx) override;
  void one_hot(const Tensor& labels, Tensor& y) override;
  void store_scalars(std::span<const Tensor> scalars, Tensor& count, Tensor& table) override;
  void argmax_rows(const Tensor& x, Tensor& y) override;
  Tensor count_top_k(const Tensor& x, const Tensor& labels, std::int64_t k) override;

  // gemm.cpp, conv.cpp, epilogue.cu
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
  DType weight_gradient_dtype(DType images) const override { return images; }

  // pool.cu
  void max_pool(const Pool2dParams& params, const Tensor& x, Tensor& y, Tensor& chosen) override;
  void max_pool_backward(const Pool2dParams& params, const Tensor& dy, const Tensor& chosen,
                         Tensor& dx) override;
  void avg_pool(const Pool2dParams& params, const Tensor& x, Tensor& y) override;
  void avg_pool_backward(const Pool2dParams& params, const Tensor& dy, Tensor& dx) override;

  // resample.cu
  void resample_nearest(const Tensor& x, Tensor& y) override;
  void resample_nearest_backward(const Tensor& dy, Tensor& dx) override;
  void adaptive_avg_pool(const Tensor& x, Tensor& y) override;
  void adaptive_avg_pool_backward(const Tensor& dy, Tensor& dx) override;
  void gather_rows(const Tensor& x, const Tensor& indices, Tensor& y) override;
  void gather_rows_backward(const Tensor& indices, const Tensor& dy, Tensor& dx) override;

  // negatives.cu
  void draw_negatives(const Tensor& labels, const NegativeDraws& draws, Tensor& y) override;

  // batch_norm.cu, batch_norm_backward.cu
  void batch_norm_train(const BatchNormParams& params, const BatchNormInputs& in,
                        BatchNormStatistics& running, Tensor& mean, Tensor& inverse_std, Tensor& y) override;
  void batch_norm_eval(const BatchNormParams& params, const BatchNormInputs& in,
                       const BatchNormStatistics& running, Tensor& y) override;
  void batch_norm_backward(const BatchNormParams& params, const BatchNormSaved& saved, const Tensor& dy,
                           BatchNormGradients& out) override;

  // optimizer.cu
  void sgd_step(const SgdParams& params, const Tensor& learning_rate,
                std::span<const SgdUpdate> updates) override;
  void adam_step(const AdamParams& params, const Tensor& learning_rate,
                 std::span<const AdamUpdate> updates) override;

  // augment.cu
  void augment(const AugmentInputs& in, Tensor& y) override;

 private:
  /// The stream of every kernel.
  cudaStream_t stream() const;
  /// Starts a kernel for the op named so, and notes the op for errors that show later.
  template <class... Parameters, class... Arguments>
  void run(std::string_view op, LaunchShape shape, void (*kernel)(Parameters...),
           const Arguments&... arguments) {
    shape.overlaps = overlap();
    launch(op, stream(), shape, kernel, arguments...);
    launched(op);
  }
  /// How many blocks of `threads` threads of a kernel the GPU runs at a time.
  template <class... Parameters>
  std::int64_t blocks_at_once(void (*kernel)(Parameters...), int threads = 256) {
    return blocks_at_once(reinterpret_cast<const void*>(kernel), threads);
  }
  std::int64_t blocks_at_once(const void* kernel, int threads);
  /// most_tickets counters at 0 for the blocks of one kernel, which leaves them at 0: the kernels of a stream
  /// run one after the other.
  unsigned* tickets();
  void launched(std::string_view op);
  /// Whether kernels may come in while the one before ends.
  bool overlap() const;
  /// f32 weights {..., C} in the type of the images, for so many of their channels: themselves, or their
  /// shadow (cuda/shadows.h).
  Tensor rounded(const Tensor& weight, DType dtype, std::int64_t channels);

  /// Where work goes: Parts::place.
  std::int64_t place() const;

  // small_gemm.cu

  /// Whether a product of matrices with so many products to add is better not left to the library.
  static bool is_small_gemm(const Tensor& a, const Tensor& b, const Tensor& c, std::int64_t inner);
  void small_gemm(const GemmParams& params, const Tensor& a, const Tensor& b, Tensor& c);

  // padding.cu

  /// y {..., 8} of bf16 = x {..., C} of either dtype, and zeros.
  void pad(const Tensor& x, Tensor& y);
  /// y {..., C} of either dtype = the first channels of x {..., 8} of bf16, or y += them.
  void cut(const Tensor& x, bool adds, Tensor& y);
  /// Where images {N, H, W, C} lie padded, or are to; null where a convolution reads them as they are, or
  /// something else is kept beside them.
  static PaddedImages* room_for_padded(const Tensor& x);
  /// Padded images have been written.
  void note_padded(PaddedImages& images);
  /// {N, H, W, 8}, of images of bf16 with fewer channels.
  Tensor padded(const Tensor& x);

  Shadows& shadows();
  /// Images and f32 weights as a convolution reads them, padded if need be, and the weights in the type of
  /// the images.
  Tensor images_read(const Conv2dParams& params, const Tensor& x);
  Tensor filter_read(const Conv2dParams& params, const Tensor& weight, DType images);
  /// y = images * filter, both as they are read; with the sums of y's channels where the weight
  /// `summed_for`, if defined, has them asked for.
  void convolve_forward(const Conv2dParams& params, const Tensor& images, const Tensor& filter,
                        const Tensor& summed_for, Tensor& y);
  /// As convolve_at_once, or by the definition where that can't be; without what follows the sums.
  void convolve(const ConvolutionWork& work);
  /// By a kernel for few channels or by the library. False where neither has one for it.
  bool convolve_at_once(const ConvolutionWork& work);
  /// A forward convolution of bf16 images that also adds up y's channels (output_sums.h), if the batch norm
  /// behind it wants that and it pays. False where nothing was computed.
  bool convolve_and_sum(ConvolutionWork work, const Tensor& weight, Tensor& y);
  /// What there is to do for y = activation(x * filter + bias [+ residual]) in one go, all of x's type;
  /// without bias it adds zeros. Nothing where that can't be.
  std::optional<ConvolutionWork> at_once(const Conv2dParams& params, const Tensor& x, const Tensor& filter,
                                         const Tensor& bias, const Conv2dEpilogue& epilogue, Tensor& y) const;
  void backward_data(const Conv2dParams& params, const Tensor& dy, const Tensor& weight, bool adds,
                     Tensor& dx);
  /// For which is_depthwise (depthwise.cu).
  void convolve_depthwise(const ConvolutionProblem& problem, const ConvolutionOperands& operands);
  /// For which has_few_channels (few_channels.cu).
  void convolve_few_channels(const ConvolutionProblem& problem, const ConvolutionOperands& operands);
  /// Mean and biased variance {2, C} of the rows of x {..., C} (batch_norm.cu).
  Tensor batch_moments(const Tensor& x);
  /// y += bias {K} (if defined) and activation(y [+ residual]), in one pass (epilogue.cu).
  void apply_epilogue(const Tensor& bias, const Conv2dEpilogue& epilogue, Tensor& y);

  struct Parts;  ///< device, stream, memory, libraries: cuda_backend.cpp
  std::unique_ptr<Parts> parts_;
};

}  // namespace generous::cuda
