#include "apps/benchmark/limit.h"

#include <algorithm>
#include <map>
#include <memory>

#include "apps/training/log.h"
#include "core/ops.h"

namespace generous {
namespace {

using Direction = ConvolutionCall::Direction;

/// Numbers from -1 to 1: on zeros, a processor at the limit of its power is faster.
Tensor numbers(const Shape& shape, DType dtype, Device device) {
  Tensor host = Tensor::empty(shape);
  std::uint32_t state = 1;
  for (float& value : host.data<float>()) {
    state = state * 1664525U + 1013904223U;
    value = static_cast<float>(state >> 8U) / static_cast<float>(1U << 23U) - 1.0F;
  }
  return cast(host.to(device), dtype);
}

/// One convolution of a call's shapes.
class Replay {
 public:
  Replay(const ConvolutionCall& call, Device device)
      : call_(call),
        x_(numbers(call.x, call.dtype, device)),
        y_(numbers(call.y, call.dtype, device)),
        residual_(call.residual ? numbers(call.y, call.dtype, device) : Tensor()),
        filter_{.weight = numbers(call.weight, DType::f32, device),
                .bias = call.bias ? numbers({call.weight[0]}, DType::f32, device) : Tensor(),
                .prepared = {}},
        gradient_(Tensor::empty(call.weight, backend(device).weight_gradient_dtype(call.dtype), device)) {
    ask();  // what it needs is prepared here
    recorded_ = backend(device).record([this] {
      for (int i = 0; i < repeats(); ++i) ask();
    });
    backend(device).synchronize();
  }

  /// Seconds that it takes: on a GPU the mean of many behind each other, which the host does not slow down.
  double seconds() {
    const double begin = now_seconds();
    recorded_->replay();
    backend(x_.device()).synchronize();
    return (now_seconds() - begin) / repeats();
  }

 private:
  int repeats() const { return x_.device() == Device::cpu ? 1 : 20; }

  void ask() {
    Backend& device = backend(x_.device());
    switch (call_.direction) {
      case Direction::forward:
        if (call_.residual) return device.conv2d_add(call_.params, x_, filter_.weight, residual_, y_);
        return device.conv2d(call_.params, x_, filter_.weight, filter_.bias, y_);
      case Direction::inference:
        return device.conv2d_inference(call_.params, x_, filter_,
                                       {.residual = residual_, .activation = call_.activation}, y_);
      case Direction::backward_data:
        if (call_.residual)
          return device.accumulate_conv2d_backward_data(call_.params, y_, filter_.weight, x_);
        return device.conv2d_backward_data(call_.params, y_, filter_.weight, x_);
      case Direction::backward_weight:
        return device.conv2d_backward_weight(call_.params, x_, y_, gradient_);
    }
  }

  ConvolutionCall call_;
  Tensor x_, y_, residual_;
  FrozenFilter filter_;
  Tensor gradient_;
  std::unique_ptr<RecordedWork> recorded_;
};

double median_seconds(const ConvolutionCall& call, Device device) {
  constexpr int runs = 5;
  Replay replay(call, device);
  std::vector<double> seconds(runs);
  std::ranges::generate(seconds, [&] { return replay.seconds(); });
  std::ranges::sort(seconds);
  return seconds[runs / 2];
}

std::vector<ConvolutionCall> convolutions_of(Workload& workload) {
  ProfileScope scope(workload.device());
  workload.compute();
  return scope.take().convolutions;
}

}  // namespace

std::vector<TimedConvolution> time_convolutions(Workload& workload, const AlgorithmChoice& choice) {
  const std::vector<ConvolutionCall> calls = convolutions_of(workload);
  AlgorithmChoice fastest = choice;
  fastest.convolutions = ConvolutionChoice::measured;
  backend(workload.device()).choose_algorithms(fastest);
  std::vector<TimedConvolution> timed;
  std::map<std::string, std::size_t> place;
  for (const ConvolutionCall& call : calls) {
    const auto [entry, is_new] = place.try_emplace(call.key(), timed.size());
    if (is_new) timed.push_back({.call = call, .seconds = median_seconds(call, workload.device())});
    ++timed[entry->second].calls;
  }
  backend(workload.device()).choose_algorithms(choice);
  return timed;
}

}  // namespace generous
