// Measures training steps and inference: images per second, memory, the time of the convolutions alone, and
// where the time goes; of several processes, how much of it communication takes.
#include <fmt/format.h>
#include <omp.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "apps/benchmark/limit.h"
#include "apps/benchmark/observed_group.h"
#include "apps/benchmark/report.h"
#include "apps/training/device.h"
#include "apps/training/log.h"
#include "apps/training/memory.h"
#include "apps/training/program.h"
#include "apps/training/together.h"
#include "core/console.h"
#include "core/files.h"
#include "core/waiting.h"

namespace {

using namespace generous;

struct Settings {
  std::vector<std::string> models = {"preresnet20"};
  std::vector<std::string> stages = {"standard"};
  std::vector<std::string> dtypes = {"f32"};
  std::string teacher;
  std::int64_t classes = 10;
  std::int64_t batch = 128;
  std::int64_t steps = 10;
  bool limit = false;
  bool profile = false;
  bool json = false;
  DeviceSettings device;
  TrainStepOptions step;  ///< whether it is recorded

  void declare(Options& options) {
    options.group("measurement");
    options.add("models", models, {.help = "networks, such as resnet18,preresnet20"});
    options.add("stages", stages, {.help = "what to measure", .choices = stage_names()});
    options.add("dtypes", dtypes, {.help = "types to compute in", .choices = {"f32", "bf16"}});
    options.add("teacher", teacher, {.help = "the network to learn from, by default the same"});
    options.add("classes", classes, {.help = "how many classes there are", .min = 2, .max = 1000});
    options.add("batch", batch, {.help = "images per step", .min = 1, .max = 65536});
    options.add("steps", steps, {.help = "steps to take the median of", .min = 1, .max = 1e6});
    options.add("limit", limit, {.help = "also time the convolutions alone"});
    options.add("profile", profile,
                {.help = "also print the time of every kernel, with --limit of every convolution alone, and "
                         "write a trace "
                         "(MODEL_STAGE_DTYPE.trace.json)"});
    options.add("json", json, {.help = "print one line of JSON a measurement"});
    device.declare(options);
    step.declare(options);
  }
};

struct Measurement {
  double set_up_s = 0.0;      ///< from the start of the process to the start of the first step
  double first_step_s = 0.0;  ///< from the start of the process to the end of the first step
  double median_s = 0.0;
  double min_s = 0.0;
  std::size_t system_allocations = 0;  ///< after the first step
  std::int64_t peak_rss_mib = 0;
  std::vector<TimedConvolution> convolutions;  ///< only with --limit

  double gradient_mb = 0.0;  ///< in f32
  // Of several processes, in a step:
  double exposed_s = 0.0;  ///< what it takes longer than without its sums
  double alone_s = 0.0;    ///< what the same sums take where nothing else is done meanwhile

  double convolutions_s() const {
    double sum = 0.0;
    for (const TimedConvolution& timed : convolutions) sum += timed.all_seconds();
    return sum;
  }
};

double timed_step(Workload& workload) {
  const double begin = now_seconds();
  workload.step();
  return now_seconds() - begin;
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

/// So many steps, one by one, behind those that warm up.
std::vector<double> timed_steps(Workload& workload, std::int64_t steps) {
  for (int warm_up = 0; warm_up < 3; ++warm_up) workload.step();  // the third one is recorded on a GPU
  std::vector<double> seconds;
  for (std::int64_t step = 0; step < steps; ++step) seconds.push_back(timed_step(workload));
  return seconds;
}

Measurement measure(const Settings& settings, Workload& workload, double start, ObservedGroup& group) {
  Measurement m;
  m.set_up_s = now_seconds() - start;
  group.take_sums();
  workload.step();
  const Sums sums = group.take_sums();
  m.first_step_s = now_seconds() - start;
  const auto system_allocations = [&] {
    return backend(workload.device()).allocator()->statistics().system_allocations;
  };
  const std::size_t allocations = system_allocations();
  const std::vector<double> seconds = timed_steps(workload, settings.steps);
  m.system_allocations = system_allocations() - allocations;
  m.peak_rss_mib = peak_memory_mib();
  m.median_s = median(seconds);
  m.min_s = *std::ranges::min_element(seconds);
  m.gradient_mb = 4e-6 * static_cast<double>(workload.gradients());
  if (group.size() > 1 && !sums.empty()) {
    m.alone_s = seconds_alone(group, sums, workload.device(), settings.device.deterministic);
    group.leave_out_sums();
    workload.begin_anew();
    m.exposed_s = std::max(0.0, m.median_s - median(timed_steps(workload, settings.steps)));
  }
  if (settings.limit) m.convolutions = time_convolutions(workload, chosen_algorithms(settings.device));
  return m;
}

/// Of communication, by its time alone: the part that the step is not kept by.
double hidden_share(const Measurement& m) {
  return m.alone_s > 0.0 ? std::max(0.0, 1.0 - m.exposed_s / m.alone_s) : 0.0;
}

void print(const Settings& settings, const WorkloadOptions& cell, const Measurement& m) {
  const int processes = cell.group->size();
  const double rate = static_cast<double>(cell.batch) / m.median_s;
  if (!settings.json) {
    std::string line = fmt::format(
        "{:<14} {:<9} {:<5} batch {:<5} {:>9.1f} images/s {:>9.2f} ms a step {:>6} MiB", cell.model,
        cell.stage, name_of(cell.dtype), cell.batch, rate, 1e3 * m.median_s, m.peak_rss_mib);
    if (settings.limit)
      line += fmt::format("  {:.2f} times its convolutions", m.median_s / m.convolutions_s());
    if (processes > 1)
      line += fmt::format(
          "  {} processes of {:.1f} images/s; sums of {:.2f} MB take {:.2f} ms, {:.0f} % of them hidden; the "
          "step takes {:.2f} ms ({:.1f} %) longer than without them",
          processes, rate / processes, m.gradient_mb, 1e3 * m.alone_s, 100.0 * hidden_share(m),
          1e3 * m.exposed_s, 100.0 * m.exposed_s / m.median_s);
    print_line(line);
    if (settings.limit && settings.profile) print_lines(convolution_table(m.convolutions));
    return;
  }
  nlohmann::ordered_json line{{"model", cell.model},
                              {"stage", cell.stage},
                              {"dtype", name_of(cell.dtype)},
                              {"device", backend(cell.device).description()},
                              {"batch", cell.batch},
                              {"threads", omp_get_max_threads()},
                              {"images_per_s", rate},
                              {"step_ms", 1e3 * m.median_s},
                              {"fastest_step_ms", 1e3 * m.min_s},
                              {"peak_rss_mib", m.peak_rss_mib},
                              {"gradient_mb", m.gradient_mb},
                              {"system_allocations_after_first_step", m.system_allocations},
                              {"set_up_s", m.set_up_s},
                              {"first_step_s", m.first_step_s}};
  if (processes > 1) {
    line["processes"] = processes;
    line["images_per_s_each"] = rate / processes;
    line["communication_ms"] = 1e3 * m.alone_s;
    line["hidden_share"] = hidden_share(m);
    line["exposed_ms"] = 1e3 * m.exposed_s;
    line["exposed_share"] = m.exposed_s / m.median_s;
  }
  if (settings.limit) {
    line["convolutions_ms"] = 1e3 * m.convolutions_s();
    line["ratio_to_convolutions"] = m.median_s / m.convolutions_s();
  }
  print_line(line.dump());
}

/// One step under the profiler: the table on standard output, the trace in a file.
void profile(const Settings& settings, const WorkloadOptions& cell, Workload& workload) {
  ProfileScope scope(workload.device());
  workload.compute();
  scope.take();
  const double begin = now_seconds();
  workload.compute();
  const double seconds = now_seconds() - begin;
  const Profile recorded = scope.take();
  const std::string trace = fmt::format("{}_{}_{}.trace.json", cell.model, cell.stage, name_of(cell.dtype));
  if (!settings.json) print_lines(kernel_table(recorded, seconds));
  write_file_atomically(trace, chrome_trace(recorded));
  print_error(fmt::format("{}: a trace of one step", trace));
}

int measure_cell(const Settings& settings, WorkloadOptions cell, double start, Group& group) {
  const PoliteWaiting waiting;
  cell.device = set_up_device(settings.device, group);
  choose_dtype(std::string(name_of(cell.dtype)), cell.device);  // throws if there is none
  group.connect(cell.device);
  ObservedGroup observed(group);
  cell.group = &observed;
  cell.in_order = settings.device.deterministic;
  Workload workload(cell);
  const Measurement measurement = measure(settings, workload, start, observed);
  if (group.is_first()) print(settings, cell, measurement);
  if (settings.profile) profile(settings, cell, workload);
  return 0;
}

/// In a process of its own, so that peak memory and start-up are this measurement's. Returns its exit code.
int in_own_process(const Settings& settings, const WorkloadOptions& cell, Group& group) {
  const double start = now_seconds();
  const pid_t child = ::fork();
  require(child >= 0, "benchmark: cannot start a process");
  if (child == 0) {
    int code = 1;
    try {
      code = measure_cell(settings, cell, start, group);
    } catch (const std::exception& error) {
      print_error(fmt::format("benchmark: {}", error.what()));
    }
    ::_exit(code);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

/// Several processes stay what they are: who has left a group does not come back.
int measure_all(const Settings& settings, Group& group) {
  require(group.size() == 1 || !settings.profile, "profile: of one process, not of {}", group.size());
  int code = 0;
  for (const std::string& model : settings.models)
    for (const std::string& stage : settings.stages)
      for (const std::string& dtype : settings.dtypes) {
        const WorkloadOptions cell{.model = model,
                                   .stage = stage,
                                   .dtype = dtype == "bf16" ? DType::bf16 : DType::f32,
                                   .teacher = settings.teacher,
                                   .classes = settings.classes,
                                   .batch = settings.batch,
                                   .record = settings.step.record};
        code = std::max(code, group.size() == 1 ? in_own_process(settings, cell, group)
                                                : measure_cell(settings, cell, now_seconds(), group));
      }
  return code;
}

int benchmark(Options& options) {
  Settings settings;
  settings.declare(options);
  if (!options.finish()) return 0;
  const std::unique_ptr<Group> group = join_group();
  return run_together(*group, "benchmark", [&](Start&) { return measure_all(settings, *group); });
}

}  // namespace

int main(int argc, char** argv) { return run_program("benchmark", argc, argv, benchmark); }
