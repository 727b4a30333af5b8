// --sync_batch_norm: several processes train as one does that has the whole batch, but for rounding.
#include <cmath>

#include "core/safetensors.h"
#include "tests/parallel/mpi_runs.h"

namespace generous {
namespace {

namespace fs = std::filesystem;

/// How far two runs that began with the same weights are apart after a step: the norm of the difference by
/// the norm of what a batch norm's shifts, which are 0 at first, and running means have become.
double difference(const fs::path& one, const fs::path& other) {
  const SafetensorsFile first = read_safetensors(one / "last_model.safetensors");
  const SafetensorsFile second = read_safetensors(other / "last_model.safetensors");
  REQUIRE(first.tensors.size() == second.tensors.size());
  double all = 0.0;
  double apart = 0.0;
  auto its = second.tensors.begin();
  for (const auto& [name, tensor] : first.tensors) {
    const auto& [other_name, other_tensor] = *its++;
    REQUIRE(name == other_name);
    if (!name.ends_with(".running_mean") && !name.ends_with("bias")) continue;
    const auto a = tensor.data<float>();
    const auto b = other_tensor.data<float>();
    REQUIRE(a.size() == b.size());
    for (std::size_t i = 0; i < a.size(); ++i) {
      all += std::pow(static_cast<double>(a[i]), 2);
      apart += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
    }
  }
  return std::sqrt(apart / all);
}

struct Case {
  int processes;
  std::string program;
  std::string model;
  Arguments flags;
};

}  // namespace

TEST_CASE("synchronised batch norm gives the run of one process, but for rounding") {
  const TemporaryFolder folder;
  make_images(folder / "images");
  completes("train_standard",
            small_run(folder / "images", folder / "teacher") +
                Arguments{"--num_epochs", "1", "--normalisation", "0.5,0.5,0.5/0.25,0.25,0.25"});
  const std::string teacher = (folder / "teacher" / "best_model.safetensors").string();
  const Arguments from_teacher{"--teacher_model", "resnet8", "--teacher_resume", teacher};
  const std::vector<Case> cases{
      {2, "train_generous", "resnet8", {"--adversarial_model", "resnet8", "--adversarial_resume", teacher}},
      {3, "train_standard", "preresnet20", {"--label_smoothing", "0.1"}},
      {2, "train_standard", "vgg8_bn", {}},
      {3, "train_kd", "resnet8", from_teacher + Arguments{"--method", "dkd,mgd"}}};
  for (std::size_t i = 0; i < cases.size(); ++i) {
    CAPTURE(i);
    const Case& each = cases[i];
    const auto run = [&](const std::string& name) {
      Arguments flags = small_run(folder / "images", folder / (name + std::to_string(i)));
      *(std::ranges::find(flags, "--model_name") + 1) = each.model;
      *(std::ranges::find(flags, "--batch_size") + 1) = "20";
      return flags + each.flags +
             Arguments{"--max_steps",     "1",    "--drop_last",     "1",
                       "--learning_rate", "0.05", "--normalisation", "0.5,0.5,0.5/0.25,0.25,0.25"};
    };
    const fs::path one = folder / ("one" + std::to_string(i));
    completes(each.program, run("one"));
    completes_together(each.processes, each.program, run("alike") + Arguments{"--sync_batch_norm", "1"});
    const double alike = difference(one, folder / ("alike" + std::to_string(i)));
    CHECK(alike < 1e-5);
    if (i > 0) continue;
    completes_together(each.processes, each.program, run("unlike"));
    CHECK(difference(one, folder / ("unlike" + std::to_string(i))) > 0.01);
  }
}

}  // namespace generous
