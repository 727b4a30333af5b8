// The program that writes ONNX: what it takes, what it says, and what is in its files. Whether they compute
// the right thing is asked of onnxruntime (check.py).
#include <fmt/format.h>
#include <onnx/onnx_pb.h>

#include <set>

#include "apps/onnx/onnx_model.h"
#include "core/safetensors.h"
#include "nn/models/registry.h"
#include "nn/state_dict.h"
#include "tests/apps/run_checks.h"
#include "tests/torch_stream.h"

using namespace generous;
namespace fs = std::filesystem;

namespace {

onnx::ModelProto read_onnx(const fs::path& path) {
  onnx::ModelProto model;
  REQUIRE(model.ParseFromString(read_file(path)));
  return model;
}

std::map<std::string, std::string> metadata_of(const onnx::ModelProto& model) {
  std::map<std::string, std::string> metadata;
  for (const auto& entry : model.metadata_props()) metadata[entry.key()] = entry.value();
  return metadata;
}

std::vector<std::string> outputs_of(const onnx::ModelProto& model) {
  std::vector<std::string> names;
  for (const auto& output : model.graph().output()) names.push_back(output.name());
  return names;
}

std::set<std::string> operators_of(const onnx::ModelProto& model) {
  std::set<std::string> names;
  for (const auto& node : model.graph().node()) names.insert(node.op_type());
  return names;
}

/// The constants of a graph, by name: their bytes.
std::map<std::string, std::string> constants_of(const onnx::ModelProto& model) {
  std::map<std::string, std::string> constants;
  for (const auto& tensor : model.graph().initializer()) constants[tensor.name()] = tensor.raw_data();
  return constants;
}

}  // namespace

TEST_CASE("a run's network is written with all that its weights know") {
  const TemporaryFolder folder;
  make_images(folder / "images");
  const std::string run = (folder / "run").string();
  const std::string weights = (folder / "run" / "best_model.safetensors").string();
  const std::string output = (folder / "network.onnx").string();
  completes("train_standard",
            {"--save_path", run, "--dataset", "class_folders", "--data_dir", (folder / "images").string(),
             "--model_name", "net", "--num_channels", "6", "--batch_size", "8", "--num_workers", "1",
             "--threads", "1", "--num_epochs", "1"});
  const auto known = read_safetensors(weights).metadata;

  SUBCASE("from the run's folder or its file, frozen") {
    CHECK(completes("export_onnx", {run, "--output", output}) ==
          output + ": net, 3 classes of class_folders, batch norm folded, images {batch, 3, 16, 24}\n");
    const onnx::ModelProto model = read_onnx(output);
    auto metadata = metadata_of(model);
    for (const char* key : {"model_name", "model_settings", "dataset", "classes", "image", "normalisation",
                            "program", "method", "epoch", "top1"}) {
      CAPTURE(key);
      CHECK(metadata[key] == known.at(key));
    }
    CHECK(metadata["mean"] + "/" + metadata["std"] == known.at("normalisation"));
    CHECK(contains(metadata["input"], "{batch, 3, 16, 24}"));
    CHECK(contains(metadata["input"], known.at("normalisation")));
    REQUIRE(model.graph().input_size() == 1);
    CHECK(model.graph().input(0).name() == "images");
    CHECK(model.graph().input(0).doc_string() == metadata["input"]);
    CHECK(outputs_of(model) == std::vector<std::string>{"logits"});
    // The batch norm behind the linear layer stays.
    CHECK(operators_of(model) ==
          std::set<std::string>{"BatchNormalization", "Conv", "Flatten", "Gemm", "MaxPool", "Relu"});
    completes("export_onnx", {"--weights", weights, "--output", output + "2"});
    CHECK(read_file(output + "2") == read_file(output));
  }
  SUBCASE("not frozen: every weight as PyTorch has it; features as outputs") {
    completes("export_onnx", {run, "--output", output, "--frozen", "0", "--features", "1"});
    const onnx::ModelProto model = read_onnx(output);
    CHECK(outputs_of(model) == std::vector<std::string>{"logits", "stage_0", "stage_1", "stage_2", "pooled"});
    const auto constants = constants_of(model);
    std::size_t compared = 0;
    for (const auto& entry : read_safetensors(weights).tensors) {
      const auto& [name, tensor] = entry;
      if (name.ends_with("num_batches_tracked")) continue;
      CAPTURE(entry.first);
      REQUIRE(constants.contains(name));
      CHECK(constants.at(name) == std::string(static_cast<const char*>(tensor.raw()), tensor.bytes()));
      ++compared;
    }
    CHECK(compared == constants.size());
  }
  SUBCASE("what PyTorch saved, where it is told what it is") {
    const std::string tar = (folder / "theirs.tar").string();
    write_file_atomically(tar, torch_stream(read_safetensors(weights).tensors, "module."));
    CHECK(run_app("export_onnx", {tar, "--output", output}).exit_code == 2);
    const Arguments told{tar, "--output",       output, "--model_name",    "net",     "--classes",
                         "3", "--num_channels", "6",    "--normalisation", "0.5/0.25"};
    const Finished sizeless = run_app("export_onnx", told);
    CHECK(sizeless.exit_code == 2);
    CHECK(contains(sizeless.err, "does not say which images it was trained on: give --image_size"));
    // A flattened image of another size than the weights are for.
    refuses("export_onnx", told + Arguments{"--image_size", "64"}, {tar, "fc1.weight"});
    const std::string square = (folder / "square.safetensors").string();
    const std::unique_ptr<Network> network = make_model("resnet8", {.classes = 3, .image = {20, 20, 1}});
    write_safetensors(square, state_dict(*network));
    completes("export_onnx", {square, "--output", output, "--model_name", "resnet8", "--classes", "3",
                              "--image_size", "20", "--normalisation", "0.5/0.25"});
    auto metadata = metadata_of(read_onnx(output));
    CHECK(metadata["image"] == "20,20,1");
    CHECK(metadata["mean"] == "0.5");
    CHECK(metadata["std"] == "0.25");
    CHECK_FALSE(metadata.contains("classes"));
    CHECK_FALSE(metadata.contains("dataset"));
    write_file_atomically(tar, torch_stream(state_dict(*network), ""));
    const auto before = constants_of(read_onnx(output));
    completes("export_onnx",
              {tar, "--output", output, "--model_name", "resnet8", "--classes", "3", "--image_size", "20"});
    CHECK(constants_of(read_onnx(output)) == before);
  }
  SUBCASE("nothing that was there is harmed") {
    const std::string before = read_file(weights);
    CHECK(run_app("export_onnx", {weights, "--output", weights}).exit_code == 2);
    CHECK(read_file(weights) == before);
    CHECK(run_app("export_onnx", {weights}).exit_code == 2);
    refuses("export_onnx", {weights, "--output", (folder / "nowhere" / "n.onnx").string()}, {"nowhere"});
    refuses("export_onnx", {weights, "--output", (folder / "images").string()}, {"images"});
    refuses("export_onnx", {run, "--output", output, "--model_name", "resnet14"},
            {"holds net, you asked for resnet14"});
    write_text(output, "what was there");
    const Finished full = run_app("export_onnx", {run, "--output", output}, {.largest_file = 4096});
    CHECK(full.exit_code == 1);
    CHECK(std::count(full.err.begin(), full.err.end(), '\n') == 1);
    CHECK(contains(full.err, output));
    CHECK(read_file(output) == "what was there");
    CHECK(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()) == 3);
  }
}

TEST_CASE("a network that is trained, and one that does what has no form in ONNX, are refused by name") {
  class Odd : public Network {
   public:
    explicit Odd(bool host) : host_(host) {}
    Tensor forward(const Tensor& x, Features* /*features*/) override {
      const Tensor y = global_avg_pool(x);
      if (!host_) return sigmoid(y);
      const std::span<const float> values = y.data<float>();  // behind the backend's back
      return relu(Tensor::from(values, y.shape()));
    }

   private:
    bool host_;
  };
  const OnnxOptions options{.image = {8, 6, 3}};
  Odd odd(false);
  CHECK_THROWS_WITH_AS(onnx_model(odd, options), doctest::Contains("training mode"), Error);
  odd.eval();
  CHECK_THROWS_WITH_AS(onnx_model(odd, options), doctest::Contains("only relu, relu6 and a sum"), Error);
  Odd by_host(true);
  by_host.eval();
  CHECK_THROWS_WITH_AS(onnx_model(by_host, options), doctest::Contains("no kernel has computed"), Error);
  // The backend is its old self afterwards.
  CHECK(relu(Tensor::full({1, 2}, -1.0F)).data<float>()[0] == 0.0F);
}
