#include "core/profiling_backend.h"

#include <fmt/format.h>

#include <chrono>
#include <utility>

#include "core/forwarding_backend.h"

namespace generous {
namespace {

using Direction = ConvolutionCall::Direction;

std::string describe(const Tensor& tensor) {
  return tensor.defined() ? fmt::format("{} {}", tensor.shape().str(), name_of(tensor.dtype())) : "";
}

}  // namespace

std::string ConvolutionCall::key() const {
  constexpr std::string_view names[] = {"forward", "inference", "backward data", "backward weight"};
  constexpr std::string_view activation_names[] = {"", " + relu", " + relu6"};
  return fmt::format("{} x {} weight {} stride {} padding {} groups {} {}{}{}{}",
                     names[static_cast<std::size_t>(direction)], x.str(), weight.str(), params.stride,
                     params.padding, params.groups, name_of(dtype), bias ? " + bias" : "",
                     residual ? " + residual" : "", activation_names[static_cast<std::size_t>(activation)]);
}

/// Times every kernel, and notes the convolutions among them.
class ProfileScope::Recorder final : public ForwardingBackend {
 public:
  using ForwardingBackend::ForwardingBackend;

  Profile take() {
    start_ = now();
    return std::exchange(profile_, Profile());
  }

  void conv2d(const Conv2dParams& params, const Tensor& x, const Tensor& weight, const Tensor& bias,
              Tensor& y) override {
    note(call_of(Direction::forward, bias), params, x, weight, y);
    ForwardingBackend::conv2d(params, x, weight, bias, y);
  }
  void conv2d_inference(const Conv2dParams& params, const Tensor& x, FrozenFilter& filter,
                        const Conv2dEpilogue& epilogue, Tensor& y) override {
    ConvolutionCall call = call_of(Direction::inference, filter.bias);
    call.residual = epilogue.residual.defined();
    call.activation = epilogue.activation;
    note(call, params, x, filter.weight, y);
    ForwardingBackend::conv2d_inference(params, x, filter, epilogue, y);
  }
  void conv2d_add(const Conv2dParams& params, const Tensor& x, const Tensor& weight, const Tensor& residual,
                  Tensor& y) override {
    ConvolutionCall call = call_of(Direction::forward, {});
    call.residual = true;
    note(call, params, x, weight, y);
    ForwardingBackend::conv2d_add(params, x, weight, residual, y);
  }
  void conv2d_backward_data(const Conv2dParams& params, const Tensor& dy, const Tensor& weight,
                            Tensor& dx) override {
    note(call_of(Direction::backward_data, {}), params, dx, weight, dy);
    ForwardingBackend::conv2d_backward_data(params, dy, weight, dx);
  }
  void accumulate_conv2d_backward_data(const Conv2dParams& params, const Tensor& dy, const Tensor& weight,
                                       Tensor& dx) override {
    ConvolutionCall call = call_of(Direction::backward_data, {});
    call.residual = true;
    note(call, params, dx, weight, dy);
    ForwardingBackend::accumulate_conv2d_backward_data(params, dy, weight, dx);
  }
  void conv2d_backward_weight(const Conv2dParams& params, const Tensor& x, const Tensor& dy,
                              Tensor& dweight) override {
    note(call_of(Direction::backward_weight, {}), params, x, dweight, dy);
    ForwardingBackend::conv2d_backward_weight(params, x, dy, dweight);
  }

 private:
  static double now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  }

  void begin(std::string_view kernel, const Tensor& of) override {
    call_ = {.kernel = kernel, .detail = describe(of), .begin = 0.0, .seconds = 0.0};
    if (!convolution_.empty())
      call_ = {.kernel = "convolution",
               .detail = std::exchange(convolution_, std::string()),
               .begin = 0.0,
               .seconds = 0.0};
    begin_ = now();
  }
  void end() override {
    real().synchronize();  // a GPU's kernels are only asked for when their calls return
    call_.begin = begin_ - start_;
    call_.seconds = now() - begin_;
    profile_.kernels.push_back(std::move(call_));
  }

  static ConvolutionCall call_of(Direction direction, const Tensor& bias) {
    ConvolutionCall call;
    call.direction = direction;
    call.bias = bias.defined();
    return call;
  }

  /// A convolution that is about to begin.
  void note(ConvolutionCall call, const Conv2dParams& params, const Tensor& x, const Tensor& weight,
            const Tensor& y) {
    call.params = params;
    call.x = x.shape();
    call.weight = weight.shape();
    call.y = y.shape();
    call.dtype = x.dtype();
    if (!within_kernel()) convolution_ = call.key();
    profile_.convolutions.push_back(call);
  }

  double start_ = now();
  KernelCall call_;          ///< the one that runs,
  double begin_ = 0.0;       ///< since then
  std::string convolution_;  ///< ConvolutionCall::key of the kernel that begins next, if it is one
  Profile profile_;
};

ProfileScope::ProfileScope(Device device) : device_(device) {
  backend(device);  // throws if it is not there
  auto recorder = std::make_unique<Recorder>(register_backend(device, nullptr));
  recorder_ = recorder.get();
  register_backend(device, std::move(recorder));
}

ProfileScope::~ProfileScope() { register_backend(device_, recorder_->release()); }

Profile ProfileScope::take() { return recorder_->take(); }

}  // namespace generous
