// The peak memory that a run tells of is its own; what is left, by any limit; what a step takes, before it is
// taken.
#include <doctest/doctest.h>

#include <algorithm>
#include <memory>

#include "apps/training/step_memory.h"
#include "core/ops.h"
#include "nn/distill/methods.h"
#include "nn/models/registry.h"
#include "nn/state_dict.h"
#include "tests/apps/run_checks.h"

using namespace generous;
namespace fs = std::filesystem;

TEST_CASE("the peak grows with what is written to, stays, and is not that of who started the program") {
  constexpr std::size_t mib = 512;
  const std::int64_t before = peak_memory_mib();
  CHECK(before > 0);
  CHECK(before < 512);
  {
    const auto memory = std::make_unique<char[]>(mib << 20U);  // zeroed
    CHECK(memory[mib] == 0);
  }
  const std::int64_t after = peak_memory_mib();
  CHECK(after >= 512);
  CHECK(after <= before + 520);

  const TemporaryFolder folder;
  make_images(folder / "images");
  completes("train_standard", small_run(folder / "images", folder / "run") + Arguments{"--num_epochs", "1"});
  const std::string log = read_file(folder / "run" / "training.log");
  const std::string words = "; at most ";
  const std::size_t place = log.rfind(words);
  REQUIRE(place != std::string::npos);
  CHECK(place > log.rfind("done: best top-1 "));
  CHECK(log.ends_with(" MiB of memory\n"));
  const std::int64_t told = std::stoll(log.substr(place + words.size()));
  CHECK(told > 0);
  CHECK(told < 512);
}

TEST_CASE(
    "what is left of the machine and of control groups of both versions, swap and cached files counted") {
  const TemporaryFolder root;
  CHECK(memory_left(root.path()).bytes > (std::int64_t{1} << 50));  // nothing is known there
  write_text(root / "proc/meminfo", "MemTotal: 9000 kB\nMemAvailable:  5000 kB\nSwapFree: 1000 kB\n");
  const auto left = [&](std::int64_t kib, const std::string& where) {
    const MemoryLeft found = memory_left(root.path());
    CHECK(found.bytes == kib * 1024);
    CHECK(contains(found.where, where));
  };
  left(6000, "on this machine");
  write_text(root / "proc/self/cgroup", "0::/outer/inner\n");
  const fs::path groups = root / "sys/fs/cgroup";
  write_text(groups / "outer/inner/memory.max", "max\n");
  left(6000, "on this machine");
  write_text(groups / "outer/memory.max", std::to_string(4000 * 1024) + "\n");
  write_text(groups / "outer/memory.current", std::to_string(1500 * 1024) + "\n");
  write_text(groups / "outer/memory.stat",
             "anon 7\nfile_mapped 9\nfile " + std::to_string(500 * 1024) + "\n");
  left(4000 - 1500 + 500 + 1000, "control group");
  write_text(root / "proc/self/cgroup", "3:cpu:/x\n5:memory,hugetlb:/job\n");
  const fs::path job = groups / "memory,hugetlb" / "job";
  write_text(job / "memory.limit_in_bytes", "9223372036854771712\n");
  left(6000, "on this machine");
  write_text(job / "memory.limit_in_bytes", std::to_string(700 * 1024) + "\n");
  write_text(job / "memory.usage_in_bytes", std::to_string(400 * 1024) + "\n");
  write_text(job / "memory.stat", "total_cache " + std::to_string(100 * 1024) + "\n");
  left(700 - 400 + 100 + 1000, "control group");
}

TEST_CASE("three fifths of the estimate are no more than steps take; measuring it leaves no trace") {
  const Shape image{16, 24, 3};
  for (const DType dtype : {DType::f32, DType::bf16}) {
    if (dtype == DType::bf16 && !backend(Device::cpu).why_no_bf16().empty()) continue;
    for (const char* name : {"resnet8", "mobilenetv2", "vgg8_bn"}) {
      CAPTURE(std::string(name));
      const std::unique_ptr<Network> student = make_model(name, {.classes = 5, .image = image});
      const std::unique_ptr<Method> none = make_method("none");
      const Distillation distillation{*student, nullptr, *none};
      const TrainStepOptions options{.dtype = dtype};
      std::vector<std::vector<std::byte>> before;
      for (const StateEntry& entry : student->state()) {
        const auto* bytes = static_cast<const std::byte*>(entry.tensor.raw());
        before.emplace_back(bytes, bytes + entry.tensor.bytes());
      }
      const StepMemory memory = step_memory(distillation, image, options, 32);
      std::size_t place = 0;
      for (const StateEntry& entry : student->state()) {
        const std::vector<std::byte>& kept = before[place++];
        CHECK(std::equal(kept.begin(), kept.end(), static_cast<const std::byte*>(entry.tensor.raw())));
        CHECK((!entry.tensor.requires_grad() || !entry.tensor.grad().defined()));
      }

      constexpr std::int64_t rows = 384;
      CachingAllocator& allocator = *backend(Device::cpu).allocator();
      allocator.restart_peak();
      const std::size_t base = allocator.statistics().in_use_bytes;
      student->train();
      Tensor images = cast(Tensor::full({rows, 16, 24, 3}, 0.5F), dtype);
      Tensor labels = Tensor::zeros({rows}, DType::i64);
      backward(cross_entropy((*student)(images), labels));
      const auto taken = static_cast<double>(allocator.statistics().peak_in_use_bytes - base);
      CAPTURE(memory.bytes(rows) / taken);
      CHECK(0.6 * memory.bytes(rows) <= taken);
      CHECK(memory.bytes(rows) >= 0.85 * taken);

      const auto complaint = [&](double bytes, const BatchesInMemory& batches) {
        return error_of([&] {
          check_memory(distillation, image, options, batches,
                       {.bytes = static_cast<std::int64_t>(bytes), .where = "in a box"});
        });
      };
      const BatchesInMemory batches{.batch_size = rows, .images = 500, .may_slice = true};
      CHECK(complaint(1.01 * memory.bytes(rows), batches).empty());
      CHECK(complaint(1000, {.batch_size = 8, .images = 500}).empty());  // too few to ask
      CHECK(complaint(1.01 * memory.bytes(rows / 3), {.batch_size = 384, .images = 128}).empty());
      const std::string refused = complaint(1.01 * memory.bytes(160), batches);
      CHECK(contains(refused, "batch_size 384: a training step takes about "));
      CHECK(contains(refused, " are left in a box: give --batch_size 16"));
      CHECK(contains(refused, ", or --micro_batches 3,"));
      CHECK_FALSE(
          contains(complaint(1.01 * memory.bytes(160), {.batch_size = rows, .images = 500}), "micro"));
    }
  }
}

TEST_CASE("a run that cannot fit is refused in one line, with what would fit, before anything is written") {
  const TemporaryFolder folder;
  make_images(folder / "images");
  const Arguments flags = {"--save_path",  (folder / "run").string(),
                           "--data_dir",   (folder / "images").string(),
                           "--dataset",    "class_folders",
                           "--model_name", "resnet8",
                           "--image_size", "640",
                           "--batch_size", "42"};
  const Finished refused = run_app("train_standard", flags, {.address_space = rlim_t{6} << 30U});
  CAPTURE(refused.err);
  CHECK(refused.exit_code == 1);
  CHECK(contains(refused.err, "batch_size 42: a training step takes about "));
  CHECK(contains(refused.err, " left under the limit on the address space (ulimit -v): give --batch_size "));
  CHECK_FALSE(fs::exists(folder / "run" / "params.json"));
}
