// The safetensors file format: an 8-byte little-endian header size, a JSON header, the tensors' bytes.
// (Format definition: huggingface/safetensors, README "Format".)
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/tensor.h"

namespace generous {

/// Named tensors in a fixed order. Tensors are on the host, in the layout of the file.
using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

struct SafetensorsFile {
  NamedTensors tensors;                         ///< in the order of their bytes in the file
  std::map<std::string, std::string> metadata;  ///< the header's "__metadata__"
};

/// Reads and validates a whole file. Every rule of the format is enforced (header size within the file and at
/// most 100 MB, header a UTF-8 JSON object that begins with '{', no duplicate keys, exactly the keys dtype,
/// shape and data_offsets, known dtypes, products that do not overflow, offsets contiguous from 0 without
/// holes or overlap, byte counts that match shape and dtype, file size exact). Throws Error with the file,
/// the tensor and the reason. Dtypes that the format knows and Tensor does not (F64, F16, I32, ...) are
/// converted where no value can change (I32, I16, I8, U16, U32, BOOL to i64; F16 to f32), and rejected by
/// name otherwise.
SafetensorsFile read_safetensors(const std::filesystem::path& path);
/// The header's "__metadata__" alone, for the price of reading the header; nothing of a file that is no
/// safetensors file, that is damaged or that is not there: reading the whole of it says why.
std::map<std::string, std::string> read_safetensors_metadata(const std::filesystem::path& path);
/// read_safetensors of a file's `content` in memory; `file` names it in messages.
SafetensorsFile parse_safetensors(std::string_view content, const std::string& file);

/// Writes atomically (core/files.h). Tensor data is aligned to 8 bytes by padding the header with spaces.
/// Throws Error for duplicate or empty names, the name "__metadata__", an undefined tensor.
void write_safetensors(const std::filesystem::path& path, const NamedTensors& tensors,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace generous
