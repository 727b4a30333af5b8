#include "apps/benchmark/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>

namespace generous {
namespace {

struct Row {
  std::string name;
  std::int64_t calls = 0;
  double seconds = 0.0;
};

std::vector<Row> rows_of(const Profile& profile) {
  std::map<std::string, Row> by_name;
  for (const KernelCall& call : profile.kernels) {
    const std::string name =
        call.kernel == "convolution" ? "convolution " + call.detail : std::string(call.kernel);
    Row& row = by_name[name];
    row.name = name;
    ++row.calls;
    row.seconds += call.seconds;
  }
  std::vector<Row> rows;
  for (auto& [name, row] : by_name) rows.push_back(std::move(row));
  std::ranges::sort(rows, [](const Row& a, const Row& b) { return a.seconds > b.seconds; });
  return rows;
}

}  // namespace

std::string kernel_table(const Profile& profile, double step_seconds) {
  std::string table = fmt::format("{:>5}  {:>9}  {:>6}  {}\n", "calls", "ms/step", "share", "kernel");
  double inside = 0.0;
  const auto add = [&](const std::string& calls, double seconds, const std::string& name) {
    table += fmt::format("{:>5}  {:>9.3f}  {:>4.1f} %  {}\n", calls, 1e3 * seconds,
                         100.0 * seconds / step_seconds, name);
  };
  for (const Row& row : rows_of(profile)) {
    add(std::to_string(row.calls), row.seconds, row.name);
    inside += row.seconds;
  }
  add("", step_seconds - inside, "outside kernels");
  return table;
}

std::string convolution_table(std::vector<TimedConvolution> timed) {
  std::ranges::sort(timed, std::ranges::greater(), &TimedConvolution::all_seconds);
  std::string table = fmt::format("{:>5}  {:>9}  {:>9}  {:>8}  {}\n", "calls", "ms/step", "us", "TFLOP/s",
                                  "convolution alone");
  for (const TimedConvolution& row : timed) {
    const Shape& weight = row.call.weight;  // {K, R, S, C / groups}
    const double operations =
        2.0 * static_cast<double>(row.call.y.numel()) * static_cast<double>(weight.numel() / weight[0]);
    table += fmt::format("{:>5}  {:>9.3f}  {:>9.1f}  {:>8.2f}  {}\n", row.calls, 1e3 * row.all_seconds(),
                         1e6 * row.seconds, 1e-12 * operations / row.seconds, row.call.key());
  }
  return table;
}

std::string chrome_trace(const Profile& profile) {
  nlohmann::ordered_json events = nlohmann::ordered_json::array();
  for (const KernelCall& call : profile.kernels)
    events.push_back({{"name", call.kernel},
                      {"ph", "X"},
                      {"ts", 1e6 * call.begin},
                      {"dur", 1e6 * call.seconds},
                      {"pid", 1},
                      {"tid", 1},
                      {"args", {{"detail", call.detail}}}});
  return nlohmann::ordered_json{{"traceEvents", events}, {"displayTimeUnit", "ms"}}.dump(1) + "\n";
}

}  // namespace generous
