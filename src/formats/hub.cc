#include "formats/hub.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace tumbler::formats {
namespace {

bool is_name(std::string_view text) {
  return !text.empty() && text.size() <= 128 && text.front() != '.' && text.front() != '-' &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
                  c == '_' || c == '-';
         });
}

// Names between slashes.
bool is_path(std::string_view text) {
  for (;;) {
    const size_t slash = text.find('/');
    if (!is_name(text.substr(0, slash))) return false;
    if (slash == text.npos) return true;
    text.remove_prefix(slash + 1);
  }
}

bool has_suffix(const HubFile& file, std::string_view suffix) {
  return file.path.ends_with(suffix);
}

std::string list_of(const std::vector<HubFile>& files) {
  std::string out;
  for (const HubFile& f : files)
    out += fmt::format("{}{} ({:.2f} GB)", out.empty() ? "" : ", ", f.path,
                       static_cast<double>(f.size_bytes) / 1e9);
  return out;
}

}  // namespace

HubModel parse_hub_model(std::string_view text) {
  HubModel model;
  std::string_view rest = text;
  if (rest.starts_with("hf:")) rest.remove_prefix(3);
  const size_t colon = rest.find(':');
  if (colon != rest.npos) model.file = rest.substr(colon + 1);
  rest = rest.substr(0, colon);
  const size_t at = rest.find('@');
  if (at != rest.npos) model.revision = rest.substr(at + 1);
  model.repository = rest.substr(0, at);
  const size_t slash = model.repository.find('/');
  if (!text.starts_with("hf:") || slash == model.repository.npos || !is_path(model.repository) ||
      model.repository.find('/', slash + 1) != model.repository.npos || !is_path(model.revision) ||
      (colon != text.substr(3).npos && !is_path(model.file)))
    throw Error("pull", "'{}': expected hf:owner/name, hf:owner/name:file, hf:owner/name@revision or a URL",
                text);
  return model;
}

std::vector<HubFile> parse_hub_files(std::string_view text, const std::string& repository) {
  const nlohmann::json tree = nlohmann::json::parse(text, nullptr, false);
  if (!tree.is_array()) throw Error("pull", "{}: the hub's list of files is not one", repository);
  std::vector<HubFile> files;
  for (const nlohmann::json& entry : tree) {
    if (!entry.is_object() || entry.value("type", nlohmann::json()) != "file") continue;
    const auto path = entry.find("path"), size = entry.find("size");
    if (path == entry.end() || !path->is_string() || size == entry.end() || !size->is_number_unsigned())
      throw Error("pull", "{}: the hub's list has a file without path or size", repository);
    HubFile file{path->get<std::string>(), size->get<int64_t>(), ""};
    if (!is_path(file.path)) continue;  // .gitattributes, and names that no model needs
    if (const auto lfs = entry.find("lfs"); lfs != entry.end() && lfs->is_object()) {
      if (const auto oid = lfs->find("oid"); oid != lfs->end() && oid->is_string()) file.sha256 = *oid;
    }
    files.push_back(std::move(file));
  }
  return files;
}

std::vector<HubFile> choose_files(const std::vector<HubFile>& files, const HubModel& model) {
  std::vector<HubFile> chosen, ggufs;
  if (!model.file.empty()) {
    std::copy_if(files.begin(), files.end(), std::back_inserter(chosen),
                 [&](const HubFile& f) { return f.path == model.file; });
    if (chosen.empty())
      throw Error("pull", "{}: it has no file {}; it has {}", model.repository, model.file, list_of(files));
    return chosen;
  }
  constexpr std::array kBeside = {"config.json",
                                  "generation_config.json",
                                  "tokenizer.json",
                                  "tokenizer_config.json",
                                  "special_tokens_map.json",
                                  "chat_template.jinja",
                                  "model.safetensors.index.json"};
  bool weights = false;
  for (const HubFile& f : files) {
    if (has_suffix(f, ".gguf")) ggufs.push_back(f);
    const bool top = f.path.find('/') == f.path.npos,
               model_part = top && f.path.starts_with("model") && has_suffix(f, ".safetensors");
    weights |= model_part;
    if (model_part || std::find(kBeside.begin(), kBeside.end(), f.path) != kBeside.end()) chosen.push_back(f);
  }
  if (weights) return chosen;
  if (ggufs.size() == 1) return ggufs;
  if (ggufs.empty())
    throw Error("pull", "{}: it has neither model*.safetensors nor a GGUF file", model.repository);
  throw Error("pull", "{}: it has {} GGUF files; name one, as in hf:{}:{}. There are: {}", model.repository,
              ggufs.size(), model.repository, ggufs.front().path, list_of(ggufs));
}

std::string hub_tree_url(const std::string& endpoint, const HubModel& model) {
  return fmt::format("{}/api/models/{}/tree/{}?recursive=true", endpoint, model.repository, model.revision);
}
std::string hub_file_url(const std::string& endpoint, const HubModel& model, const std::string& path) {
  return fmt::format("{}/{}/resolve/{}/{}", endpoint, model.repository, model.revision, path);
}

}  // namespace tumbler::formats
