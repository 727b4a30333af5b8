// Several processes, each on a GPU of its own (emulated ones): the bits of one process, and what cannot be.
#include "tests/parallel/mpi_runs.h"

namespace generous {
namespace {

namespace fs = std::filesystem;

/// What the emulation reads; a real machine has what it has.
void set_gpus(int count) { ::setenv("GENEROUS_EMULATION_DEVICES", std::to_string(count).c_str(), 1); }

/// Steps of whole batches, which are recorded from the third one on, and smaller ones.
Arguments run_on(const std::string& device, const fs::path& images, const fs::path& run) {
  return uneven_run(images, run, "resnet8") +
         Arguments{"--device", device, "--num_epochs", "2", "--deterministic", "1"};
}

/// Ends all with one line, once, that holds the words.
void refused(int count, const Arguments& flags, const std::string& words) {
  const Finished finished = mpirun(processes(count, "train_standard", flags));
  CAPTURE(finished.err);
  CHECK(finished.exit_code == 1);
  const Arguments lines = own_lines(finished.err, "train_standard");
  REQUIRE(lines.size() == 1);
  CHECK(contains(lines[0], words));
}

}  // namespace

TEST_CASE("two processes on GPUs give the bits of one that adds up two slices, recorded or not") {
  set_gpus(2);
  const TemporaryFolder folder;
  make_images(folder / "images");
  const std::vector<Arguments> cases{{}, {"--dtype", "bf16", "--record", "0"}, {"--dtype", "bf16"}};
  for (std::size_t i = 0; i < cases.size(); ++i) {
    CAPTURE(i);
    const fs::path one = folder / ("one" + std::to_string(i));
    const fs::path two = folder / ("two" + std::to_string(i));
    const Arguments flags = cases[i] + Arguments{"--micro_batches", "2"};
    completes("train_standard", run_on("cuda", folder / "images", one) + flags);
    // Whichever stream runs first where nothing orders them: the same bits.
    ::setenv("GENEROUS_EMULATION_SEED", std::to_string(i + 1).c_str(), 1);
    completes_together(2, "train_standard", run_on("cuda", folder / "images", two) + flags);
    ::unsetenv("GENEROUS_EMULATION_SEED");
    check_same_run(one, two);
  }
}

TEST_CASE("a student of a method with a connector, on two GPUs, goes on with one process") {
  set_gpus(2);
  const TemporaryFolder folder;
  make_images(folder / "images");
  completes("train_standard",
            small_run(folder / "images", folder / "teacher") + Arguments{"--num_epochs", "1"});
  const auto run = [&](const std::string& name) {
    return run_on("cuda", folder / "images", folder / name) +
           Arguments{"--teacher_model",  "resnet8",
                     "--teacher_resume", (folder / "teacher" / "best_model.safetensors").string(),
                     "--method",         "dkd,mgd",
                     "--micro_batches",  "2"};
  };
  completes_together(2, "train_kd", run("straight"));
  completes_together(2, "train_kd", run("halting") + Arguments{"--max_steps", "5"});
  completes("train_kd", {"--save_path", (folder / "halting").string(), "--resume"});
  for (const char* name : {"last_model.safetensors", "training_state.safetensors", "steps.csv"}) {
    CAPTURE(name);
    CHECK(read_file(folder / "straight" / name) == read_file(folder / "halting" / name));
  }
}

TEST_CASE(
    "three processes on GPUs, in the order of their ranks, give the bits of one; synchronised ones run") {
  set_gpus(3);
  const TemporaryFolder folder;
  make_images(folder / "images");
  const Arguments flags{"--micro_batches", "3"};
  completes("train_standard", run_on("cuda", folder / "images", folder / "one") + flags);
  completes_together(3, "train_standard", run_on("cuda", folder / "images", folder / "three") + flags);
  check_same_run(folder / "one", folder / "three");

  // Recorded and not, synchronised batch norm is the same.
  const Arguments synchronised{"--sync_batch_norm", "1"};
  completes_together(3, "train_standard",
                     run_on("cuda:2,0,1", folder / "images", folder / "recorded") + synchronised);
  completes_together(3, "train_standard",
                     run_on("cuda:2,0,1", folder / "images", folder / "by_hand") + synchronised +
                         Arguments{"--record", "0"});
  CHECK(read_file(folder / "recorded" / "last_model.safetensors") ==
        read_file(folder / "by_hand" / "last_model.safetensors"));
}

TEST_CASE("GPUs that cannot be shared out are refused with one line") {
  set_gpus(2);
  const TemporaryFolder folder;
  make_images(folder / "images");
  const auto run = [&](const std::string& device) {
    return run_on(device, folder / "images", folder / "run");
  };
  refused(2, run("cuda:1"), "rank 0 and rank 1 of host ");
  refused(2, run("cuda:1"), " have the same GPU, 0000:11:00.0: each process needs one of its own");
  refused(3, run("cuda"), "rank 0 and rank 2 of host ");
  refused(3, run("cuda:0,1"),
          "device: cuda:0,1 names 2 GPUs, one for each process of a host, and 3 run here: mpirun -np 2");
  refused(2, run("cuda:0,7"), "there is no cuda:7");
  CHECK_FALSE(fs::exists(folder / "run" / "metrics.csv"));
  refuses("train_standard", run("cuda:0,1"), {"and one runs here: mpirun -np 2 starts as many"});
}

}  // namespace generous
