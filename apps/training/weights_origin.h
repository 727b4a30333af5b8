// What a file of weights says of itself: its network, what it was trained on, and where it comes from.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/shape.h"

namespace generous {

/// Texts as an array of JSON; what is not UTF-8 in them is replaced.
std::string list_to_json(const std::vector<std::string>& texts);
/// The reverse. `source`, the file and the key, begins the message of the Error for anything else.
std::vector<std::string> list_from_json(const std::string& json, const std::string& source);

/// What a file of weights says of itself. All of it is unknown where another program wrote the file.
struct WeightsOrigin {
  std::string model_name = {};
  std::string model_settings = {};  ///< ModelSettings::own_settings; empty: there are none
  std::string dataset = {};
  std::vector<std::string> classes = {};  ///< by index; empty: not known
  Shape image = {};                       ///< {H, W, C} that it was trained on; of no axes: not known
  std::int64_t image_size = 0;            ///< ImageSettings::image_size
  std::string normalisation = {};         ///< of the images (data/normalisation.h); empty: not known
  std::string head = {};                  ///< head_of(network)
  // Where the weights come from.
  std::string program = {};
  std::string method = {};
  std::string teacher = {};                    ///< its network
  std::int64_t epoch = 0;                      ///< after which they were saved; 0: in the midst of one
  std::optional<double> top1 = {};             ///< in percent of the test images
  std::optional<double> validation_top1 = {};  ///< the same of the images held out
};
/// What the metadata of a file says; `source` names it in messages. Throws Error for what this program does
/// not write.
WeightsOrigin parse_origin(const std::map<std::string, std::string>& metadata, const std::string& source);
/// The same of a file, of which the header alone is read; nothing is known of one that is no safetensors
/// file.
WeightsOrigin read_origin(const std::filesystem::path& path);

/// The metadata of a file of weights that says so.
std::map<std::string, std::string> metadata_of(const WeightsOrigin& origin);

}  // namespace generous
