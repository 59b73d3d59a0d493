// Where models come from: `hf:owner/name` on a Hugging Face hub, or a URL.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tumbler::formats {

// "hf:owner/name", "hf:owner/name:file.gguf", "hf:owner/name@revision:file.gguf".
struct HubModel {
  std::string repository;         // "owner/name"
  std::string revision = "main";  // branch, tag or commit
  std::string file = {};          // empty: what a model needs (choose_files)
};
// Throws Error where `text` is not of this form; names are checked, since they become paths.
HubModel parse_hub_model(std::string_view text);

struct HubFile {
  std::string path;
  int64_t size_bytes = 0;
  std::string sha256;  // empty for small files, which a hub keeps in git
};
// The files of a model from the hub's answer about its tree (an array of JSON objects). Paths that would
// leave a directory are refused. Throws Error where the answer is something else.
std::vector<HubFile> parse_hub_files(std::string_view json, const std::string& repository);

// What to bring: `model.file` alone; or weights in safetensors with configuration and tokenizer; or the only
// GGUF file. Throws Error where there is no such file, or several GGUF files to choose from: it lists them.
std::vector<HubFile> choose_files(const std::vector<HubFile>& files, const HubModel& model);

// URLs at a hub whose address is `endpoint`.
std::string hub_tree_url(const std::string& endpoint, const HubModel& model);
std::string hub_file_url(const std::string& endpoint, const HubModel& model, const std::string& path);

}  // namespace tumbler::formats
