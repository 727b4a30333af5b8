// Measures how fast batches of augmented, normalised training images are made, with nothing beside it.
#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <vector>

#include "apps/training/batches.h"
#include "apps/training/images.h"
#include "apps/training/log.h"
#include "apps/training/program.h"
#include "core/console.h"
#include "core/counted.h"
#include "core/waiting.h"
#include "data/loader.h"

namespace {

using namespace generous;

constexpr int windows = 9;

double seconds_of(const timeval& time) {
  return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
}

rusage usage() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  return used;
}

/// CPU time of all threads.
double cpu_seconds() {
  const rusage used = usage();
  return seconds_of(used.ru_utime) + seconds_of(used.ru_stime);
}

/// Images per second and CPU time per image.
struct Speed {
  double images_per_s;
  double cpu_us_per_image;
};

/// Takes batches, epoch after epoch, for so many seconds.
Speed measure(Loader& loader, std::int64_t& epoch, double seconds) {
  const double start = now_seconds();
  const double cpu_start = cpu_seconds();
  std::int64_t images = 0;
  do {
    std::optional<Batch> batch = loader.next();
    if (!batch) {
      loader.start_epoch(++epoch);
      batch = loader.next();
    }
    images += batch->labels.numel();
  } while (now_seconds() - start < seconds);
  const auto count = static_cast<double>(images);
  return {count / (now_seconds() - start), 1e6 * (cpu_seconds() - cpu_start) / count};
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

struct Settings {
  ImageSettings images;
  BatchSettings batches;
  bool second_view = false;
  double seconds = 5.0;
  bool json = false;

  void declare(Options& options) {
    images.declare(options);
    batches.declare(options, "images at a time");
    options.add("second_view", second_view, {.help = "make the strong view of every image as well"});
    options.group("measurement");
    options.add("seconds", seconds, {.help = "how long to measure", .min = 0.1, .max = 3600});
    options.add("json", json, {.help = "print one line of JSON a measurement"});
  }
};

int benchmark(Options& options) {
  Settings settings;
  settings.declare(options);
  if (!options.finish()) return 0;
  const PoliteWaiting waiting;
  const Dataset dataset = load_images(settings.images, Split::train);
  Loader loader(dataset, settings.images.info(dataset.images.size(3)),
                {.batch_size = settings.batches.batch_size,
                 .workers = static_cast<int>(settings.batches.num_workers),
                 .second_view = settings.second_view});
  std::int64_t epoch = 0;
  loader.start_epoch(epoch);
  const double window = settings.seconds / windows;
  measure(loader, epoch, window);  // the first batches take their memory from the system
  std::vector<double> images_per_s;
  std::vector<double> cpu_us_per_image;
  for (int i = 0; i < windows; ++i) {
    const Speed speed = measure(loader, epoch, window);
    images_per_s.push_back(speed.images_per_s);
    cpu_us_per_image.push_back(speed.cpu_us_per_image);
  }
  const double rate = median(images_per_s);
  const double cost = median(cpu_us_per_image);
  const auto peak_mib = usage().ru_maxrss / 1024;
  if (settings.json) {
    print_line(
        fmt::format("{{\"dataset\": \"{}\", \"batch\": {}, \"workers\": {}, \"images_per_s\": {:.0f}, "
                    "\"cpu_us_per_image\": {:.2f}, \"peak_rss_mib\": {}}}",
                    settings.images.dataset, settings.batches.batch_size, settings.batches.num_workers, rate,
                    cost, peak_mib));
  } else {
    print_line(fmt::format("{}, {} at a time, {}: {:.0f} images/s, {:.2f} us of CPU time an image, {} MiB",
                           settings.images.dataset, counted(settings.batches.batch_size, "image"),
                           counted(settings.batches.num_workers, "worker"), rate, cost, peak_mib));
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) { return run_program("loader_benchmark", argc, argv, benchmark); }
