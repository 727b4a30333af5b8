// A backend that hands every kernel on to another one and says when one begins and ends: what others derive
// from, to see what ops and modules do without any of them knowing.
#pragma once

#include <memory>
#include <string_view>
#include <type_traits>
#include <utility>

#include "core/backend.h"

namespace generous {

class ForwardingBackend : public Backend {
 public:
  explicit ForwardingBackend(std::unique_ptr<Backend> real) : real_(std::move(real)) {}
  /// The other backend, which is this one's no longer.
  std::unique_ptr<Backend> release() { return std::move(real_); }

  std::string description() const override { return real_->description(); }
  DType weight_gradient_dtype(DType images) const override { return real_->weight_gradient_dtype(images); }
  std::string why_no_bf16() const override { return real_->why_no_bf16(); }
  void choose_algorithms(const AlgorithmChoice& choice) override { real_->choose_algorithms(choice); }
  void synchronize() override { real_->synchronize(); }
  std::unique_ptr<RecordedWork> record(const std::function<void()>& work) override {
    return real_->record(work);
  }
  std::string device_id() const override { return real_->device_id(); }
  CommunicatorId make_communicator_id() override { return real_->make_communicator_id(); }
  std::unique_ptr<Communicator> connect(const CommunicatorId& id, int rank, int size) override {
    return real_->connect(id, rank, size);
  }
  const std::shared_ptr<CachingAllocator>& allocator() const override { return real_->allocator(); }

  void copy_to_host(const Tensor& x, void* host) override {
    run("copy_to_host", x, &Backend::copy_to_host, x, host);
  }
  void copy_from_host(const void* host, Tensor& y) override {
    run("copy_from_host", y, &Backend::copy_from_host, host, y);
  }
  void copy(const Tensor& x, Tensor& y) override { run("copy", x, &Backend::copy, x, y); }
  void fill(Tensor& y, double value) override { run("fill", y, &Backend::fill, y, value); }
  void cast(const Tensor& x, Tensor& y) override { run("cast", x, &Backend::cast, x, y); }

  void unary(Unary op, const Tensor& x, Tensor& y) override { run("unary", x, &Backend::unary, op, x, y); }
  void unary_backward(Unary op, const Tensor& x, const Tensor& y, const Tensor& dy, Tensor& dx) override {
    run("unary_backward", x, &Backend::unary_backward, op, x, y, dy, dx);
  }
  void binary(Binary op, const Tensor& a, const Tensor& b, Tensor& y) override {
    run("binary", a, &Backend::binary, op, a, b, y);
  }
  void binary_backward(Binary op, const Tensor& a, const Tensor& b, const Tensor& dy, Tensor& da,
                       Tensor& db) override {
    run("binary_backward", a, &Backend::binary_backward, op, a, b, dy, da, db);
  }
  void affine(const Tensor& x, float scale, float shift, Tensor& y) override {
    run("affine", x, &Backend::affine, x, scale, shift, y);
  }
  void accumulate(const Tensor& x, Tensor& y) override { run("accumulate", x, &Backend::accumulate, x, y); }
  void dropout(const Tensor& x, const DropoutParams& params, Tensor& y) override {
    run("dropout", x, &Backend::dropout, x, params, y);
  }

  void broadcast(const Tensor& x, Tensor& y) override { run("broadcast", y, &Backend::broadcast, x, y); }
  void sum_to(const Tensor& x, Tensor& y) override { run("sum_to", x, &Backend::sum_to, x, y); }

  void rearrange_channels(std::int64_t groups, std::span<const ChannelPart> from,
                          std::span<const ChannelPart> to) override {
    run("rearrange_channels", from[0].tensor, &Backend::rearrange_channels, groups, from, to);
  }

  void log_softmax(const Tensor& x, Tensor& y) override {
    run("log_softmax", x, &Backend::log_softmax, x, y);
  }
  void log_softmax_backward(const Tensor& y, const Tensor& dy, Tensor& dx) override {
    run("log_softmax_backward", y, &Backend::log_softmax_backward, y, dy, dx);
  }
  void cross_entropy(const Tensor& x, const Tensor& labels, Tensor& probabilities, Tensor& loss) override {
    run("cross_entropy", x, &Backend::cross_entropy, x, labels, probabilities, loss);
  }
  void cross_entropy_backward(const Tensor& probabilities, const Tensor& labels, const Tensor& dloss,
                              Tensor& dx) override {
    run("cross_entropy_backward", dx, &Backend::cross_entropy_backward, probabilities, labels, dloss, dx);
  }
  void one_hot(const Tensor& labels, Tensor& y) override { run("one_hot", y, &Backend::one_hot, labels, y); }
  void store_scalars(std::span<const Tensor> scalars, Tensor& count, Tensor& table) override {
    run("store_scalars", table, &Backend::store_scalars, scalars, count, table);
  }
  void argmax_rows(const Tensor& x, Tensor& y) override {
    run("argmax_rows", x, &Backend::argmax_rows, x, y);
  }
  Tensor count_top_k(const Tensor& x, const Tensor& labels, std::int64_t k) override {
    return run("count_top_k", x, &Backend::count_top_k, x, labels, k);
  }

  void gemm(const GemmParams& params, const Tensor& a, const Tensor& b, Tensor& c) override {
    run("gemm", c, &Backend::gemm, params, a, b, c);
  }
  void conv2d(const Conv2dParams& params, const Tensor& x, const Tensor& weight, const Tensor& bias,
              Tensor& y) override {
    run("conv2d", x, &Backend::conv2d, params, x, weight, bias, y);
  }
  void conv2d_inference(const Conv2dParams& params, const Tensor& x, FrozenFilter& filter,
                        const Conv2dEpilogue& epilogue, Tensor& y) override {
    run("conv2d_inference", x, &Backend::conv2d_inference, params, x, filter, epilogue, y);
  }
  void conv2d_add(const Conv2dParams& params, const Tensor& x, const Tensor& weight, const Tensor& residual,
                  Tensor& y) override {
    run("conv2d_add", x, &Backend::conv2d_add, params, x, weight, residual, y);
  }
  void conv2d_backward_data(const Conv2dParams& params, const Tensor& dy, const Tensor& weight,
                            Tensor& dx) override {
    run("conv2d_backward_data", dx, &Backend::conv2d_backward_data, params, dy, weight, dx);
  }
  void accumulate_conv2d_backward_data(const Conv2dParams& params, const Tensor& dy, const Tensor& weight,
                                       Tensor& dx) override {
    run("accumulate_conv2d_backward_data", dx, &Backend::accumulate_conv2d_backward_data, params, dy, weight,
        dx);
  }
  void conv2d_backward_weight(const Conv2dParams& params, const Tensor& x, const Tensor& dy,
                              Tensor& dweight) override {
    run("conv2d_backward_weight", x, &Backend::conv2d_backward_weight, params, x, dy, dweight);
  }
  void max_pool(const Pool2dParams& params, const Tensor& x, Tensor& y, Tensor& chosen) override {
    run("max_pool", x, &Backend::max_pool, params, x, y, chosen);
  }
  void max_pool_backward(const Pool2dParams& params, const Tensor& dy, const Tensor& chosen,
                         Tensor& dx) override {
    run("max_pool_backward", dx, &Backend::max_pool_backward, params, dy, chosen, dx);
  }
  void avg_pool(const Pool2dParams& params, const Tensor& x, Tensor& y) override {
    run("avg_pool", x, &Backend::avg_pool, params, x, y);
  }
  void avg_pool_backward(const Pool2dParams& params, const Tensor& dy, Tensor& dx) override {
    run("avg_pool_backward", dx, &Backend::avg_pool_backward, params, dy, dx);
  }

  void resample_nearest(const Tensor& x, Tensor& y) override {
    run("resample_nearest", y, &Backend::resample_nearest, x, y);
  }
  void resample_nearest_backward(const Tensor& dy, Tensor& dx) override {
    run("resample_nearest_backward", dy, &Backend::resample_nearest_backward, dy, dx);
  }
  void adaptive_avg_pool(const Tensor& x, Tensor& y) override {
    run("adaptive_avg_pool", x, &Backend::adaptive_avg_pool, x, y);
  }
  void adaptive_avg_pool_backward(const Tensor& dy, Tensor& dx) override {
    run("adaptive_avg_pool_backward", dx, &Backend::adaptive_avg_pool_backward, dy, dx);
  }
  void gather_rows(const Tensor& x, const Tensor& indices, Tensor& y) override {
    run("gather_rows", y, &Backend::gather_rows, x, indices, y);
  }
  void gather_rows_backward(const Tensor& indices, const Tensor& dy, Tensor& dx) override {
    run("gather_rows_backward", dx, &Backend::gather_rows_backward, indices, dy, dx);
  }

  void draw_negatives(const Tensor& labels, const NegativeDraws& draws, Tensor& y) override {
    run("draw_negatives", y, &Backend::draw_negatives, labels, draws, y);
  }

  void batch_norm_train(const BatchNormParams& params, const BatchNormInputs& in,
                        BatchNormStatistics& running, Tensor& mean, Tensor& inverse_std, Tensor& y) override {
    run("batch_norm_train", y, &Backend::batch_norm_train, params, in, running, mean, inverse_std, y);
  }
  void batch_norm_eval(const BatchNormParams& params, const BatchNormInputs& in,
                       const BatchNormStatistics& running, Tensor& y) override {
    run("batch_norm_eval", y, &Backend::batch_norm_eval, params, in, running, y);
  }
  void batch_norm_backward(const BatchNormParams& params, const BatchNormSaved& saved, const Tensor& dy,
                           BatchNormGradients& out) override {
    run("batch_norm_backward", dy, &Backend::batch_norm_backward, params, saved, dy, out);
  }

  void sgd_step(const SgdParams& params, const Tensor& learning_rate,
                std::span<const SgdUpdate> updates) override {
    run("sgd_step", learning_rate, &Backend::sgd_step, params, learning_rate, updates);
  }
  void adam_step(const AdamParams& params, const Tensor& learning_rate,
                 std::span<const AdamUpdate> updates) override {
    run("adam_step", learning_rate, &Backend::adam_step, params, learning_rate, updates);
  }

  void augment(const AugmentInputs& in, Tensor& y) override { run("augment", y, &Backend::augment, in, y); }

 protected:
  /// Around every kernel but those that a kernel calls, which are a part of it; `of`: a tensor that it is
  /// about.
  virtual void begin(std::string_view kernel, const Tensor& of) = 0;
  virtual void end() = 0;
  /// Whether a kernel runs.
  bool within_kernel() const { return depth_ > 0; }
  Backend& real() { return *real_; }

 private:
  class Call {
   public:
    Call(ForwardingBackend& backend, std::string_view kernel, const Tensor& of) : backend_(backend) {
      if (backend_.depth_ == 0) backend_.begin(kernel, of);
      ++backend_.depth_;
    }
    ~Call() {
      if (--backend_.depth_ == 0) backend_.end();
    }
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;

   private:
    ForwardingBackend& backend_;
  };

  template <class Method, class... Arguments>
  std::invoke_result_t<Method, Backend&, Arguments...> run(std::string_view kernel, const Tensor& of,
                                                           Method method, Arguments&&... arguments) {
    const Call call(*this, kernel, of);
    return (real_.get()->*method)(std::forward<Arguments>(arguments)...);
  }

  std::unique_ptr<Backend> real_;
  int depth_ = 0;  ///< of kernels within kernels
};

}  // namespace generous
