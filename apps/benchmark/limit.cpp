#include "apps/benchmark/limit.h"

#include <algorithm>
#include <limits>
#include <map>

#include "apps/training/log.h"
#include "core/profiling_backend.h"

namespace generous {
namespace {

using Direction = ConvolutionCall::Direction;

/// One convolution of a call's shapes, on zeros.
class Replay {
 public:
  explicit Replay(const ConvolutionCall& call)
      : call_(call),
        x_(Tensor::zeros(call.x, call.dtype)),
        y_(Tensor::zeros(call.y, call.dtype)),
        residual_(call.residual ? Tensor::zeros(call.y, call.dtype) : Tensor()),
        filter_{.weight = Tensor::zeros(call.weight),
                .bias = call.bias ? Tensor::zeros({call.weight[0]}) : Tensor(),
                .prepared = {}} {}

  void run() {
    Backend& device = backend(Device::cpu);
    switch (call_.direction) {
      case Direction::forward:
        return device.conv2d(call_.params, x_, filter_.weight, filter_.bias, y_);
      case Direction::inference:
        return device.conv2d_inference(call_.params, x_, filter_, {.residual = residual_, .relu = call_.relu},
                                       y_);
      case Direction::backward_data:
        return device.conv2d_backward_data(call_.params, y_, filter_.weight, x_);
      case Direction::backward_weight:
        return device.conv2d_backward_weight(call_.params, x_, y_, filter_.weight);
    }
  }

 private:
  ConvolutionCall call_;
  Tensor x_, y_, residual_;
  FrozenFilter filter_;
};

/// Median of a few runs after a first one.
double median_seconds(const ConvolutionCall& call) {
  constexpr int runs = 5;
  Replay replay(call);
  replay.run();
  std::vector<double> seconds;
  for (int i = 0; i < runs; ++i) {
    const double begin = now_seconds();
    replay.run();
    seconds.push_back(now_seconds() - begin);
  }
  std::ranges::sort(seconds);
  return seconds[runs / 2];
}

std::vector<ConvolutionCall> convolutions_of(Workload& workload) {
  ProfileScope scope(Device::cpu);
  workload.step();
  return scope.take().convolutions;
}

}  // namespace

double convolution_seconds(Workload& workload, ConvolutionChoice choice) {
  const std::vector<ConvolutionCall> calls = convolutions_of(workload);
  backend(Device::cpu).choose_convolutions(ConvolutionChoice::measured);
  std::map<std::string, double> seconds_of;
  double total = 0.0;
  for (const ConvolutionCall& call : calls) {
    const auto [entry, is_new] = seconds_of.try_emplace(call.key(), 0.0);
    if (is_new) entry->second = median_seconds(call);
    total += entry->second;
  }
  backend(Device::cpu).choose_convolutions(choice);
  return total;
}

}  // namespace generous
