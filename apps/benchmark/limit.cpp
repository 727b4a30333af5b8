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
  Replay(const ConvolutionCall& call, Device device)
      : call_(call),
        x_(Tensor::zeros(call.x, call.dtype, device)),
        y_(Tensor::zeros(call.y, call.dtype, device)),
        residual_(call.residual ? Tensor::zeros(call.y, call.dtype, device) : Tensor()),
        filter_{.weight = Tensor::zeros(call.weight, DType::f32, device),
                .bias = call.bias ? Tensor::zeros({call.weight[0]}, DType::f32, device) : Tensor(),
                .prepared = {}} {}

  /// To its end.
  void run() {
    ask();
    backend(x_.device()).synchronize();
  }

 private:
  void ask() {
    Backend& device = backend(x_.device());
    switch (call_.direction) {
      case Direction::forward:
        return device.conv2d(call_.params, x_, filter_.weight, filter_.bias, y_);
      case Direction::inference:
        return device.conv2d_inference(call_.params, x_, filter_,
                                       {.residual = residual_, .activation = call_.activation}, y_);
      case Direction::backward_data:
        return device.conv2d_backward_data(call_.params, y_, filter_.weight, x_);
      case Direction::backward_weight:
        return device.conv2d_backward_weight(call_.params, x_, y_, filter_.weight);
    }
  }

  ConvolutionCall call_;
  Tensor x_, y_, residual_;
  FrozenFilter filter_;
};

/// Median of a few runs after a first one.
double median_seconds(const ConvolutionCall& call, Device device) {
  constexpr int runs = 5;
  Replay replay(call, device);
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
  ProfileScope scope(workload.device());
  workload.compute();
  return scope.take().convolutions;
}

}  // namespace

double convolution_seconds(Workload& workload, const AlgorithmChoice& choice) {
  const std::vector<ConvolutionCall> calls = convolutions_of(workload);
  AlgorithmChoice fastest = choice;
  fastest.convolutions = ConvolutionChoice::measured;
  backend(workload.device()).choose_algorithms(fastest);
  std::map<std::string, double> seconds_of;
  double total = 0.0;
  for (const ConvolutionCall& call : calls) {
    const auto [entry, is_new] = seconds_of.try_emplace(call.key(), 0.0);
    if (is_new) entry->second = median_seconds(call, workload.device());
    total += entry->second;
  }
  backend(workload.device()).choose_algorithms(choice);
  return total;
}

}  // namespace generous
