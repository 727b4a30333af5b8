// Micro-benchmarks of single ops on the CPU, with Google Benchmark: --benchmark_filter=REGEX picks some.
#include <benchmark/benchmark.h>

#include "core/backend.h"
#include "core/functors.h"
#include "core/ops.h"
#include "core/random.h"
#include "core/waiting.h"

namespace {

using namespace generous;
using benchmark::Counter;
using benchmark::State;

Tensor random_tensor(const Shape& shape, DType dtype = DType::f32) {
  Tensor tensor = Tensor::empty(shape);
  const Random random(0, "microbench");
  const std::span<float> values = tensor.data<float>();
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = random.normal(0, 0, i);
  return cast(tensor, dtype);
}

DType dtype_of_range(const State& state, int index) {
  return state.range(index) != 0 ? DType::bf16 : DType::f32;
}

/// Reports arithmetic speed: so many operations an iteration.
void count_operations(State& state, std::int64_t operations) {
  state.counters["FLOP/s"] =
      Counter(static_cast<double>(operations), Counter::kIsIterationInvariantRate, Counter::kIs1000);
}

/// Reports how much memory an iteration reads and writes.
void count_bytes(State& state, std::size_t bytes) {
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) * static_cast<std::int64_t>(bytes));
}

// 3x3 convolutions of 32 images. Arguments: input and output channels, extent, stride, bf16 or not.

struct ConvolutionCase {
  Conv2dParams params;
  Tensor x, weight, y;

  explicit ConvolutionCase(const State& state)
      : params{.stride = state.range(3), .padding = 1},
        x(random_tensor({32, state.range(2), state.range(2), state.range(0)}, dtype_of_range(state, 4))),
        weight(random_tensor({state.range(1), 3, 3, state.range(0)})),
        y(random_tensor({32, state.range(2) / params.stride, state.range(2) / params.stride, state.range(1)},
                        x.dtype())) {}

  /// Two for each multiplication of a direct convolution.
  std::int64_t operations() const { return 2 * y.numel() * 9 * x.size(3); }
};

void convolution_forward(State& state) {
  ConvolutionCase c(state);
  for (auto _ : state) backend(Device::cpu).conv2d(c.params, c.x, c.weight, {}, c.y);
  count_operations(state, c.operations());
}

void convolution_backward_data(State& state) {
  ConvolutionCase c(state);
  for (auto _ : state) backend(Device::cpu).conv2d_backward_data(c.params, c.y, c.weight, c.x);
  count_operations(state, c.operations());
}

void convolution_backward_weight(State& state) {
  ConvolutionCase c(state);
  for (auto _ : state) backend(Device::cpu).conv2d_backward_weight(c.params, c.x, c.y, c.weight);
  count_operations(state, c.operations());
}

void convolution_cases(benchmark::internal::Benchmark* all) {
  all->ArgNames({"in", "out", "extent", "stride", "bf16"})->Unit(benchmark::kMillisecond)->UseRealTime();
  for (const std::int64_t bf16 : {0, 1}) {
    for (const auto& [channels, extent] :
         {std::pair{64, 32}, {128, 16}, {256, 8}, {512, 4}, {16, 32}, {32, 16}, {64, 8}})
      all->Args({channels, channels, extent, 1, bf16});
    all->Args({64, 128, 32, 2, bf16});
  }
}

BENCHMARK(convolution_forward)->Apply(convolution_cases);
BENCHMARK(convolution_backward_data)->Apply(convolution_cases);
BENCHMARK(convolution_backward_weight)->Apply(convolution_cases);

// Batch norm with ReLU over {32, extent, extent, channels}. Arguments: channels, extent, bf16 or not.

struct BatchNormCase {
  BatchNormParams params{.training = true, .activation = Activation::relu};
  BatchNormInputs in;
  BatchNormStatistics running;
  Tensor mean, inverse_std, y;

  explicit BatchNormCase(const State& state)
      : in{.parts = {random_tensor({32, state.range(1), state.range(1), state.range(0)},
                                   dtype_of_range(state, 2))},
           .gamma = random_tensor({state.range(0)}),
           .beta = random_tensor({state.range(0)}),
           .residual = {}},
        running{.mean = Tensor::zeros({state.range(0)}), .variance = Tensor::zeros({state.range(0)})},
        mean(Tensor::empty({state.range(0)})),
        inverse_std(Tensor::empty({state.range(0)})),
        y(in.parts[0].x.clone()) {}

  void forward() {
    in.parts = {in.parts[0].x};  // nothing is known of it yet
    backend(Device::cpu).batch_norm_train(params, in, running, mean, inverse_std, y);
  }
};

void batch_norm_forward(State& state) {
  BatchNormCase c(state);
  for (auto _ : state) c.forward();
  count_bytes(state, 3 * c.y.bytes());
}

void batch_norm_backward(State& state) {
  BatchNormCase c(state);
  c.forward();
  BatchNormGradients out{
      .parts = {{c.y.clone()}}, .dgamma = c.mean.clone(), .dbeta = c.mean.clone(), .dresidual = {}};
  const BatchNormSaved saved{.parts = c.in.parts,
                             .y = c.y,
                             .gamma = c.in.gamma,
                             .beta = c.in.beta,
                             .mean = c.mean,
                             .inverse_std = c.inverse_std};
  for (auto _ : state) backend(Device::cpu).batch_norm_backward(c.params, saved, c.in.parts[0].x, out);
  count_bytes(state, 5 * c.y.bytes());
}

void batch_norm_cases(benchmark::internal::Benchmark* all) {
  all->ArgNames({"channels", "extent", "bf16"})->Unit(benchmark::kMillisecond)->UseRealTime();
  for (const std::int64_t bf16 : {0, 1})
    for (const auto& [channels, extent] : {std::pair{16, 32}, {64, 32}, {512, 4}})
      all->Args({channels, extent, bf16});
}

BENCHMARK(batch_norm_forward)->Apply(batch_norm_cases);
BENCHMARK(batch_norm_backward)->Apply(batch_norm_cases);

// Arguments: elements.

void add(State& state) {
  const Tensor a = random_tensor({state.range(0)});
  const Tensor b = random_tensor({state.range(0)});
  Tensor y = a.clone();
  for (auto _ : state) backend(Device::cpu).binary(Binary::add, a, b, y);
  count_bytes(state, 3 * y.bytes());
}
BENCHMARK(add)->ArgName("elements")->RangeMultiplier(16)->Range(1 << 12, 1 << 24)->UseRealTime();

void sgd_step(State& state) {
  Tensor parameter = random_tensor({state.range(0)});
  const Tensor gradient = parameter.clone();
  Tensor velocity = Tensor::zeros({state.range(0)});
  const SgdParams params{.momentum = 0.9F, .weight_decay = 5e-4F};
  const Tensor learning_rate = Tensor::full({}, 1e-6F);
  const SgdUpdate update{.gradient = gradient, .velocity = velocity, .parameter = parameter};
  for (auto _ : state) backend(Device::cpu).sgd_step(params, learning_rate, std::span(&update, 1));
  count_bytes(state, 5 * parameter.bytes());
}
BENCHMARK(sgd_step)->ArgName("elements")->RangeMultiplier(16)->Range(1 << 12, 1 << 24)->UseRealTime();

// Arguments: rows of a square matrix product.

void gemm(State& state) {
  const std::int64_t n = state.range(0);
  const Tensor a = random_tensor({n, n});
  const Tensor b = random_tensor({n, n});
  Tensor c = Tensor::empty({n, n});
  for (auto _ : state) backend(Device::cpu).gemm({}, a, b, c);
  count_operations(state, 2 * n * n * n);
}
BENCHMARK(gemm)->ArgName("rows")->RangeMultiplier(4)->Range(64, 1024)->UseRealTime();

// Arguments: classes, of 128 rows.

void log_softmax_rows(State& state) {
  const Tensor x = random_tensor({128, state.range(0)});
  Tensor y = x.clone();
  for (auto _ : state) backend(Device::cpu).log_softmax(x, y);
  count_bytes(state, 2 * y.bytes());
}
BENCHMARK(log_softmax_rows)->ArgName("classes")->Arg(10)->Arg(100)->Arg(1000)->UseRealTime();

}  // namespace

int main(int argc, char** argv) {
  const generous::PoliteWaiting waiting;
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
}
