// The backend seam: what a device must be able to do. Ops (core/ops.h) check shapes and record gradients; a
// Backend only computes. Every Tensor argument is contiguous, on the backend's device and, unless said
// otherwise, f32; every output is allocated by the caller and fully overwritten. A missing kernel is a
// compile error. "Either dtype" means f32 or bf16, the same for all tensors that have the extents of an image
// or of x; parameters, statistics and sums {C} and {K, R, S, C} stay f32, and so does the arithmetic.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "core/communicator.h"
#include "core/params.h"
#include "core/tensor.h"

namespace generous {

// The elementwise formulas (core/functors.h). Their names are not told here, so that an added one does not
// compile anew whatever knows a backend.
enum class Unary : std::uint8_t;
enum class Binary : std::uint8_t;

/// Kernel calls that were recorded once and can be run again, on the same tensors.
class RecordedWork {
 public:
  RecordedWork() = default;
  virtual ~RecordedWork() = default;
  RecordedWork(const RecordedWork&) = delete;
  RecordedWork& operator=(const RecordedWork&) = delete;
  /// Runs them again, with whatever the tensors that they read now hold.
  virtual void replay() = 0;
};

class Backend {
 public:
  virtual ~Backend() = default;

  /// For people: "CPU (oneDNN 2.6.3, AVX-512, 2 threads)".
  virtual std::string description() const = 0;
  /// Empty where bf16 is faster than f32; otherwise what it is missing: "this CPU has no AVX512-BF16".
  virtual std::string why_no_bf16() const = 0;
  /// Holds from the next convolution or product on.
  virtual void choose_algorithms(const AlgorithmChoice& choice) = 0;

  // Order: kernels run one after the other, but on a GPU behind the caller's back

  /// Returns when everything asked for so far is done. Throws what went wrong with it.
  virtual void synchronize() = 0;
  /// Runs `work` once, which may only call kernels: nothing that the host reads or waits for. What it calls
  /// is kept: where the kernels run by themselves, `replay` repeats them without the host; on the CPU it
  /// calls `work` again. Call the same `work` once or twice before, so that everything it needs is prepared.
  virtual std::unique_ptr<RecordedWork> record(const std::function<void()>& work) = 0;

  // Several processes, each with a device of its own

  /// Which one of this host's devices it is: "0000:17:00.0".
  virtual std::string device_id() const = 0;
  virtual CommunicatorId make_communicator_id() = 0;
  /// Joins this device and those of the other processes, of which `size` call this with the same id. The
  /// communicator takes no sums when the backend is gone.
  virtual std::unique_ptr<Communicator> connect(const CommunicatorId& id, int rank, int size) = 0;

  // Memory

  virtual const std::shared_ptr<CachingAllocator>& allocator() const = 0;
  virtual void copy_to_host(const Tensor& x, void* host) = 0;
  virtual void copy_from_host(const void* host, Tensor& y) = 0;
  /// y = x, same dtype and size, any dtype.
  virtual void copy(const Tensor& x, Tensor& y) = 0;
  /// Every element of y (any dtype) becomes `value`.
  virtual void fill(Tensor& y, double value) = 0;
  /// y = x converted; f32 <-> bf16, u8 -> f32.
  virtual void cast(const Tensor& x, Tensor& y) = 0;

  // Elementwise: shapes are equal, either dtype

  virtual void unary(Unary op, const Tensor& x, Tensor& y) = 0;
  virtual void unary_backward(Unary op, const Tensor& x, const Tensor& y, const Tensor& dy, Tensor& dx) = 0;
  virtual void binary(Binary op, const Tensor& a, const Tensor& b, Tensor& y) = 0;
  /// da and db may be undefined: not wanted.
  virtual void binary_backward(Binary op, const Tensor& a, const Tensor& b, const Tensor& dy, Tensor& da,
                               Tensor& db) = 0;
  /// y = scale * x + shift; y may be x.
  virtual void affine(const Tensor& x, float scale, float shift, Tensor& y) = 0;
  /// y += x, of i64 as well
  virtual void accumulate(const Tensor& x, Tensor& y) = 0;
  /// y = mask * x / (1 - p), where mask[i] = uniform(key, first + i) >= p; its own backward.
  virtual void dropout(const Tensor& x, const DropoutParams& params, Tensor& y) = 0;

  // Broadcast and reduction: the smaller shape, right-aligned, has extent 1 (or no axis) where the larger
  // varies

  /// y {larger} = x {smaller}, of either dtype, repeated.
  virtual void broadcast(const Tensor& x, Tensor& y) = 0;
  /// y {smaller} = x {larger}, of either dtype, summed over the axes in which they differ; y is f32.
  virtual void sum_to(const Tensor& x, Tensor& y) = 0;

  // Channels of either dtype

  /// The channels of `from`, side by side and shuffled, become those of `to`, side by side: of C channels,
  /// k = 0 ... C / groups - 1 of group g move to k * groups + g. All parts have equal extents but the last.
  virtual void rearrange_channels(std::int64_t groups, std::span<const ChannelPart> from,
                                  std::span<const ChannelPart> to) = 0;

  // Rows of logits x {B, C}, labels {B} of i64

  /// y = x - log sum_c exp(x_c), row by row.
  virtual void log_softmax(const Tensor& x, Tensor& y) = 0;
  /// dx = dy - exp(y) * sum_c dy_c
  virtual void log_softmax_backward(const Tensor& y, const Tensor& dy, Tensor& dx) = 0;
  /// loss {} = mean_b(-log H(x_b)[label_b]), probabilities {B, C} = H(x).
  virtual void cross_entropy(const Tensor& x, const Tensor& labels, Tensor& probabilities, Tensor& loss) = 0;
  /// dx = dloss / B * (probabilities - onehot(labels)); dloss {}.
  virtual void cross_entropy_backward(const Tensor& probabilities, const Tensor& labels, const Tensor& dloss,
                                      Tensor& dx) = 0;
  /// y {B, C} = onehot(labels).
  virtual void one_hot(const Tensor& labels, Tensor& y) = 0;
  /// Row count % R of table {R, K} = `scalars`, K tensors {}; `count` {} of i64 goes up by 1.
  virtual void store_scalars(std::span<const Tensor> scalars, Tensor& count, Tensor& table) = 0;
  /// y {B} of i64 = the class of each row's largest logit, of equal ones the lowest. A NaN counts as largest.
  virtual void argmax_rows(const Tensor& x, Tensor& y) = 0;
  /// {}: how many rows have their label among the k largest logits; of equal logits the lower class index
  /// wins. Returned, as a backend may have found it in passing.
  virtual Tensor count_top_k(const Tensor& x, const Tensor& labels, std::int64_t k) = 0;

  // Dense and convolutional

  /// c = alpha op(a) op(b) + beta c, where op transposes if asked. c is read only if beta != 0. a, b and c
  /// are matrices, or batches {B, rows, columns} of equally many.
  virtual void gemm(const GemmParams& params, const Tensor& a, const Tensor& b, Tensor& c) = 0;
  /// x {N, H, W, C} of either dtype, weight {K, R, S, C/groups}, bias {K} or undefined, y {N, P, Q, K}. With
  /// bf16 images the weight is rounded to bf16 for the products.
  virtual void conv2d(const Conv2dParams& params, const Tensor& x, const Tensor& weight, const Tensor& bias,
                      Tensor& y) = 0;
  /// y = activation(x * weight + bias [+ residual]), the images of either dtype, for a filter that never
  /// changes: what the backend prepares from it is kept in `filter.prepared`, whose content is the backend's
  /// own (another backend's is replaced).
  virtual void conv2d_inference(const Conv2dParams& params, const Tensor& x, FrozenFilter& filter,
                                const Conv2dEpilogue& epilogue, Tensor& y) = 0;
  /// y = x * weight + residual, the images of either dtype; the sums may be rounded to it before the residual
  /// is added, and after.
  virtual void conv2d_add(const Conv2dParams& params, const Tensor& x, const Tensor& weight,
                          const Tensor& residual, Tensor& y) = 0;
  virtual void conv2d_backward_data(const Conv2dParams& params, const Tensor& dy, const Tensor& weight,
                                    Tensor& dx) = 0;
  /// The same added to what dx holds; likewise rounded.
  virtual void accumulate_conv2d_backward_data(const Conv2dParams& params, const Tensor& dy,
                                               const Tensor& weight, Tensor& dx) = 0;
  /// dweight is f32, or of what weight_gradient_dtype says of images like x.
  virtual void conv2d_backward_weight(const Conv2dParams& params, const Tensor& x, const Tensor& dy,
                                      Tensor& dweight) = 0;
  /// The dtype in which the gradient of a weight costs no conversion.
  virtual DType weight_gradient_dtype(DType images) const = 0;

  // Pooling of either dtype. A gradient in bf16 may be rounded after every window that it is summed over.

  /// y {N, P, Q, C}; `chosen` {N, P, Q, C} of u8 remembers, in the backend's own form, where each maximum
  /// was.
  virtual void max_pool(const Pool2dParams& params, const Tensor& x, Tensor& y, Tensor& chosen) = 0;
  virtual void max_pool_backward(const Pool2dParams& params, const Tensor& dy, const Tensor& chosen,
                                 Tensor& dx) = 0;
  /// Mean over the window, padding counted as zeros. y and dy are of the dtype of x and dx, or f32.
  virtual void avg_pool(const Pool2dParams& params, const Tensor& x, Tensor& y) = 0;
  virtual void avg_pool_backward(const Pool2dParams& params, const Tensor& dy, Tensor& dx) = 0;

  /// Images of either dtype {N, H, W, C} in the size of y {N, P, Q, C}, by nearest neighbours
  /// (core/nearest_pixel.h).
  virtual void resample_nearest(const Tensor& x, Tensor& y) = 0;
  /// dx = the sum of dy over the pixels that were taken from it.
  virtual void resample_nearest_backward(const Tensor& dy, Tensor& dx) = 0;

  /// y {N, P, Q, C} = the means of x {N, H, W, C}, of either dtype, over the windows of core/pool_bins.h.
  virtual void adaptive_avg_pool(const Tensor& x, Tensor& y) = 0;
  virtual void adaptive_avg_pool_backward(const Tensor& dy, Tensor& dx) = 0;

  // Rows x {M, D}, indices {B} or {B, K} of i64

  /// y {B, [K,] D}: y[i] = x[indices[i]]. An index outside [0, M) is an error on the CPU, zeros on a GPU.
  virtual void gather_rows(const Tensor& x, const Tensor& indices, Tensor& y) = 0;
  /// dx[m] = the sum of dy[i] over all i with indices[i] = m, in the order of i.
  virtual void gather_rows_backward(const Tensor& indices, const Tensor& dy, Tensor& dx) = 0;

  // Contrastive methods: labels {B} of i64

  /// y {B, N} of f32: how often each image is drawn, as core/negatives.h has it. A label outside the classes
  /// is an error on the CPU, a row of zeros on a GPU.
  virtual void draw_negatives(const Tensor& labels, const NegativeDraws& draws, Tensor& y) = 0;

  // Batch norm of either dtype over all axes but the last, fused with an optional residual and activation:
  // y = activation(gamma * (x - mean) * inverse_std + beta [+ residual]). x may be given in parts, each with
  // some of its channels.

  /// Training: mean and inverse_std {C} are the batch's (biased variance), written for the backward pass; the
  /// running statistics move by `momentum` towards them (unbiased variance).
  virtual void batch_norm_train(const BatchNormParams& params, const BatchNormInputs& in,
                                BatchNormStatistics& running, Tensor& mean, Tensor& inverse_std,
                                Tensor& y) = 0;
  /// Evaluation: with the running statistics.
  virtual void batch_norm_eval(const BatchNormParams& params, const BatchNormInputs& in,
                               const BatchNormStatistics& running, Tensor& y) = 0;
  /// With dz = dy where the activation let y pass (0 < y < its ceiling): dbeta = sum dz, dgamma = sum dz *
  /// xhat, and training: dx = gamma * inverse_std * (dz - dbeta / M - xhat * dgamma / M); evaluation: gamma *
  /// inverse_std * dz.
  virtual void batch_norm_backward(const BatchNormParams& params, const BatchNormSaved& saved,
                                   const Tensor& dy, BatchNormGradients& out) = 0;

  // Optimisers, in place, for all parameters at once. The learning rate is a tensor {}, so that recorded work
  // follows a schedule.

  // A gradient is f32, or bf16 where weight_gradient_dtype gives that.

  /// PyTorch's SGD (velocity starts at 0): g += decay * p; velocity = momentum * velocity + g; p -= lr *
  /// (nesterov ? g + momentum * velocity : velocity).
  virtual void sgd_step(const SgdParams& params, const Tensor& learning_rate,
                        std::span<const SgdUpdate> updates) = 0;
  /// Kingma & Ba 2015, with the weight decay added to the gradient.
  virtual void adam_step(const AdamParams& params, const Tensor& learning_rate,
                         std::span<const AdamUpdate> updates) = 0;

  // Images

  /// y {N, H, W, C} of either dtype: the images that the placements name, moved and normalised as they say.
  /// With a placement's sample outside [0, M), an error on the CPU, black on a GPU.
  virtual void augment(const AugmentInputs& in, Tensor& y) = 0;
};

/// The backend of a device. Throws Error that says what is missing when there is none.
Backend& backend(Device device);
/// Makes the device cuda the GPU of this number, from 0, of those that are visible; it is the first one
/// otherwise. For a program that has nothing on a GPU yet. Throws Error that says which there are if this one
/// is not, and like `backend`.
void use_gpu(int number);
/// How many GPUs are visible: 0 in a build without CUDA, and without a driver.
int visible_gpus();
/// Replaces the backend of a device; returns the previous one (possibly null).
std::unique_ptr<Backend> register_backend(Device device, std::unique_ptr<Backend> backend);
/// Whether `backend(device)` would succeed.
bool has_backend(Device device);

}  // namespace generous
