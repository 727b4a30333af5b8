#include "core/trace.h"

#include <utility>

#include "core/forwarding_backend.h"

namespace generous {

namespace {

class Recorder final : public ForwardingBackend {
 public:
  using ForwardingBackend::ForwardingBackend;

  std::vector<TracedKernel> take() { return std::move(kernels_); }

  void copy(const Tensor& x, Tensor& y) override {
    note(TracedPreparation{.of = x, .y = y});
    ForwardingBackend::copy(x, y);
  }
  void fill(Tensor& y, double value) override {
    note(TracedPreparation{.of = {}, .y = y});
    ForwardingBackend::fill(y, value);
  }
  void unary(Unary op, const Tensor& x, Tensor& y) override {
    note(TracedUnary{.op = op, .x = x, .y = y});
    ForwardingBackend::unary(op, x, y);
  }
  void binary(Binary op, const Tensor& a, const Tensor& b, Tensor& y) override {
    note(TracedBinary{.op = op, .a = a, .b = b, .y = y});
    ForwardingBackend::binary(op, a, b, y);
  }
  void broadcast(const Tensor& x, Tensor& y) override {
    note(TracedBroadcast{.x = x, .y = y});
    ForwardingBackend::broadcast(x, y);
  }
  void rearrange_channels(std::int64_t groups, std::span<const ChannelPart> from,
                          std::span<const ChannelPart> to) override {
    note(TracedChannels{.groups = groups, .from = {from.begin(), from.end()}, .to = {to.begin(), to.end()}});
    ForwardingBackend::rearrange_channels(groups, from, to);
  }
  void gemm(const GemmParams& params, const Tensor& a, const Tensor& b, Tensor& c) override {
    note(TracedGemm{.params = params, .a = a, .b = b, .c = c});
    ForwardingBackend::gemm(params, a, b, c);
  }
  void conv2d(const Conv2dParams& params, const Tensor& x, const Tensor& weight, const Tensor& bias,
              Tensor& y) override {
    note(TracedConvolution{.params = params, .x = x, .weight = weight, .bias = bias, .residual = {}, .y = y});
    ForwardingBackend::conv2d(params, x, weight, bias, y);
  }
  void conv2d_inference(const Conv2dParams& params, const Tensor& x, FrozenFilter& filter,
                        const Conv2dEpilogue& epilogue, Tensor& y) override {
    note(TracedConvolution{.params = params,
                           .x = x,
                           .weight = filter.weight,
                           .bias = filter.bias,
                           .residual = epilogue.residual,
                           .activation = epilogue.activation,
                           .y = y});
    ForwardingBackend::conv2d_inference(params, x, filter, epilogue, y);
  }
  void conv2d_add(const Conv2dParams& params, const Tensor& x, const Tensor& weight, const Tensor& residual,
                  Tensor& y) override {
    note(TracedConvolution{
        .params = params, .x = x, .weight = weight, .bias = {}, .residual = residual, .y = y});
    ForwardingBackend::conv2d_add(params, x, weight, residual, y);
  }
  void max_pool(const Pool2dParams& params, const Tensor& x, Tensor& y, Tensor& chosen) override {
    note(TracedMaxPool{.params = params, .x = x, .y = y});
    ForwardingBackend::max_pool(params, x, y, chosen);
  }
  void avg_pool(const Pool2dParams& params, const Tensor& x, Tensor& y) override {
    note(TracedAveragePool{.params = params, .x = x, .y = y});
    ForwardingBackend::avg_pool(params, x, y);
  }
  void adaptive_avg_pool(const Tensor& x, Tensor& y) override {
    note(TracedAdaptivePool{.x = x, .y = y});
    ForwardingBackend::adaptive_avg_pool(x, y);
  }
  void batch_norm_eval(const BatchNormParams& params, const BatchNormInputs& in,
                       const BatchNormStatistics& running, Tensor& y) override {
    note(TracedBatchNorm{.params = params, .in = in, .running = running, .y = y});
    ForwardingBackend::batch_norm_eval(params, in, running, y);
  }

 private:
  void note(TracedKernel kernel) {
    if (within_kernel()) return;
    kernels_.push_back(std::move(kernel));
    noted_ = true;
  }
  void begin(std::string_view kernel, const Tensor& /*of*/) override {
    require(std::exchange(noted_, false), "trace: {} is no kernel of a network in evaluation mode", kernel);
  }
  void end() override {}

  std::vector<TracedKernel> kernels_;
  bool noted_ = false;  ///< the kernel that begins next
};

/// A recorder in the place of a device's backend.
class Installed {
 public:
  explicit Installed(Device device) : device_(device) {
    backend(device);  // throws if it is not there
    auto recorder = std::make_unique<Recorder>(register_backend(device, nullptr));
    recorder_ = recorder.get();
    register_backend(device, std::move(recorder));
  }
  ~Installed() { register_backend(device_, recorder_->release()); }
  Installed(const Installed&) = delete;
  Installed& operator=(const Installed&) = delete;

  Recorder& recorder() { return *recorder_; }

 private:
  Device device_;
  Recorder* recorder_;  ///< owned by the registry of backends
};

}  // namespace

std::vector<TracedKernel> trace(Device device, const std::function<void()>& work) {
  Installed installed(device);
  work();
  return installed.recorder().take();
}

}  // namespace generous
