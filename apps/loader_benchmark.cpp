// Measures how fast batches of augmented, normalised training images are made, with nothing beside it.
#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <vector>

#include "apps/training/images.h"
#include "apps/training/log.h"
#include "apps/training/program.h"
#include "core/console.h"
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

int benchmark(const Config& requested) {
  Config config = requested;
  const Dataset dataset = load_images(config, Split::train);
  Loader loader(dataset, dataset_info(config.dataset),
                {.batch_size = config.batch_size, .workers = static_cast<int>(config.num_workers)});
  std::int64_t epoch = 0;
  loader.start_epoch(epoch);
  const double window = config.seconds / windows;
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
  if (config.json) {
    print_line(
        fmt::format("{{\"dataset\": \"{}\", \"batch\": {}, \"workers\": {}, \"images_per_s\": {:.0f}, "
                    "\"cpu_us_per_image\": {:.2f}, \"peak_rss_mib\": {}}}",
                    config.dataset, config.batch_size, config.num_workers, rate, cost, peak_mib));
  } else {
    print_line(fmt::format(
        "{}, {} images at a time, {} workers: {:.0f} images/s, {:.2f} us of CPU time an image, {} MiB",
        config.dataset, config.batch_size, config.num_workers, rate, cost, peak_mib));
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) { return run_program(Program::loader_benchmark, argc, argv, benchmark); }
