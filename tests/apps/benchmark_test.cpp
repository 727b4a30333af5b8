// The benchmark program, and the profile it is made of.
#include <doctest/doctest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "apps/benchmark/limit.h"
#include "apps/benchmark/report.h"
#include "apps/benchmark/workload.h"
#include "core/ops.h"
#include "core/profiling_backend.h"
#include "tests/apps/program_runs.h"

namespace generous {
namespace {

Arguments small(const Arguments& more) {
  return Arguments{"--models", "resnet8", "--batch", "8", "--steps", "3"} + more;
}

Tensor ramp(const Shape& shape, float step) {
  Tensor tensor = Tensor::empty(shape);
  const std::span<float> values = tensor.data<float>();
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = step * static_cast<float>(i % 17) - 1.0F;
  return tensor;
}

TEST_CASE("the benchmark prints one line of JSON a measurement, each from a process of its own") {
  const Finished finished =
      run_app("benchmark", small({"--stages", "standard,generous,kd,infer", "--json", "1", "--limit", "1"}));
  CAPTURE(finished.err);
  REQUIRE(finished.exit_code == 0);
  std::vector<std::string> stages;
  std::istringstream lines(finished.out);
  for (std::string text; std::getline(lines, text);) {
    const auto line = nlohmann::json::parse(text);
    stages.push_back(line.at("stage"));
    CHECK(line.at("model") == "resnet8");
    CHECK(line.at("dtype") == "f32");
    CHECK(line.at("batch") == 8);
    const double rate = line.at("images_per_s");
    CHECK(rate * line.at("step_ms").get<double>() == doctest::Approx(8e3));
    CHECK(line.at("fastest_step_ms") <= line.at("step_ms"));
    CHECK(line.at("peak_rss_mib").get<double>() > 5.0);
    CHECK((line.at("gradient_mb") > 0.3) == (line.at("stage") != "infer"));
    CHECK(line.at("system_allocations_after_first_step") == 0);
    CHECK(line.at("set_up_s").get<double>() > 0.0);
    CHECK(line.at("first_step_s") > line.at("set_up_s"));
    CHECK(line.at("convolutions_ms").get<double>() > 0.0);
    CHECK(line.at("ratio_to_convolutions").get<double>() > 0.0);
  }
  CHECK(stages == std::vector<std::string>{"standard", "generous", "kd", "infer"});
}

TEST_CASE("a profile is a table and a trace that a viewer opens") {
  const TemporaryFolder folder;
  const Finished finished =
      run_app("benchmark", small({"--profile", "1", "--limit", "1"}), {.working_folder = folder.path()});
  CAPTURE(finished.err);
  REQUIRE(finished.exit_code == 0);
  for (const char* part : {"batch_norm_backward", "convolution backward weight x {8, 32, 32, 16}", "sgd_step",
                           "outside kernels", "ms/step", "convolution alone"})
    CHECK(contains(finished.out, part));
  const auto trace = nlohmann::json::parse(read_file(folder / "resnet8_standard_f32.trace.json"));
  const auto& events = trace.at("traceEvents");
  REQUIRE(events.size() > 50);
  double end = 0.0;
  for (const auto& event : events) {
    CHECK(event.at("ph") == "X");
    CHECK(event.at("ts").get<double>() >= end);  // one after the other, without overlap
    end = event.at("ts").get<double>() + event.at("dur").get<double>();
  }
}

TEST_CASE("what the benchmark does not know is one line and exit code 2, or 1 for a model") {
  const auto refuses = [](const Arguments& arguments, int exit_code, const std::string& part) {
    const Finished finished = run_app("benchmark", arguments);
    CAPTURE(finished.err);
    CHECK(finished.exit_code == exit_code);
    CHECK(contains(finished.err, part));
    CHECK(std::ranges::count(finished.err, '\n') == 1);
  };
  refuses({"--stages", "standard,generos"}, 2, "did you mean 'generous'?");
  refuses({"--dtypes", "f64"}, 2, "--dtypes");
  refuses({"--batch", "0"}, 2, "from 1 to 65536");
  refuses({"--steps", "1e3"}, 2, "--steps");
  refuses({"--models", "resnet19", "--batch", "2"}, 1, "unknown model 'resnet19'");
}

TEST_CASE("the profiler changes no result, records in order and gives the backend back") {
  const Tensor x = ramp({2, 9, 7, 16}, 0.1F);
  const Tensor weight = ramp({32, 3, 3, 16}, 0.01F);
  const Conv2dParams params{.stride = 1, .padding = 1};
  const std::string before = backend(Device::cpu).description();
  const Tensor wanted = relu(conv2d(x, weight, {}, params));
  {
    ProfileScope scope(Device::cpu);
    const Tensor found = relu(conv2d(x, weight, {}, params));
    CHECK(std::ranges::equal(found.data<float>(), wanted.data<float>()));
    const Profile profile = scope.take();
    REQUIRE(profile.kernels.size() == 2);
    CHECK(profile.kernels[0].kernel == "convolution");
    CHECK(profile.kernels[1].kernel == "unary");
    CHECK(profile.kernels[0].seconds > 0.0);
    CHECK(profile.kernels[0].begin + profile.kernels[0].seconds <= profile.kernels[1].begin);
    REQUIRE(profile.convolutions.size() == 1);
    CHECK(profile.convolutions[0].x == x.shape());
    CHECK(profile.convolutions[0].y == wanted.shape());
    CHECK(scope.take().kernels.empty());
    CHECK(backend(Device::cpu).description() == before);
  }
  CHECK(backend(Device::cpu).description() == before);
}

TEST_CASE("the limit counts every convolution of a step") {
  Workload workload({.model = "resnet8", .stage = "kd", .batch = 2});
  ProfileScope scope(Device::cpu);
  workload.step();
  const Profile profile = scope.take();
  const auto count = [&](ConvolutionCall::Direction direction) {
    return std::ranges::count(profile.convolutions, direction, &ConvolutionCall::direction);
  };
  // A stem, three blocks of two convolutions, two of them with a shortcut; the stem has no gradient of x.
  CHECK(count(ConvolutionCall::Direction::forward) == 9);
  CHECK(count(ConvolutionCall::Direction::backward_weight) == 9);
  CHECK(count(ConvolutionCall::Direction::backward_data) == 8);
  CHECK(count(ConvolutionCall::Direction::inference) == 9);
  CHECK(contains(kernel_table(profile, 1.0), "outside kernels"));
}

TEST_CASE("every kind of convolution of a step is timed by itself") {
  Workload workload({.model = "resnet8", .stage = "standard", .batch = 2});
  const std::vector<TimedConvolution> timed = time_convolutions(workload, {});
  std::int64_t calls = 0;
  std::set<std::string> kinds;
  for (const TimedConvolution& row : timed) {
    CHECK(row.seconds > 0.0);
    calls += row.calls;
    kinds.insert(row.call.key());
  }
  CHECK(calls == 9 + 9 + 8);
  CHECK(kinds.size() == timed.size());
}

TEST_CASE("the table of convolutions: the costliest first, with its arithmetic") {
  const ConvolutionCall small{.params = {.stride = 1, .padding = 1, .groups = 2},
                              .x = {2, 8, 9, 4},
                              .weight = {6, 3, 5, 2},
                              .y = {2, 8, 7, 6}};
  const ConvolutionCall large{
      .params = {.stride = 2}, .x = {1, 4, 4, 3}, .weight = {5, 1, 1, 3}, .y = {1, 2, 2, 5}};
  const std::string table = convolution_table(
      {{.call = large, .calls = 2, .seconds = 1e-4}, {.call = small, .calls = 3, .seconds = 4e-4}});
  std::istringstream lines(table);
  std::vector<std::string> rows;
  for (std::string row; std::getline(lines, row);) rows.push_back(row);
  REQUIRE(rows.size() == 3);
  // 2 * (2 * 8 * 7 * 6) * (3 * 5 * 2) operations in 400 us
  CHECK(rows[1] == "    3      1.200      400.0      0.00  " + small.key());
  CHECK(rows[2] == "    2      0.200      100.0      0.00  " + large.key());
  const ConvolutionCall huge{
      .params = {}, .x = {128, 32, 32, 64}, .weight = {96, 3, 3, 64}, .y = {128, 32, 32, 96}};
  CHECK(contains(convolution_table({{.call = huge, .calls = 1, .seconds = 1e-3}}), "  1000.0     14.50  "));
}

}  // namespace
}  // namespace generous
