// Models in folders: what they are, how large, and what of it this machine can run.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace tumbler::chat {

constexpr int64_t kListedContext = 8192;  // tokens that memory is reckoned for

struct FoundModel {
  std::filesystem::path path;   // a Hugging Face directory or a .gguf file
  std::string error;            // empty: it can be read
  std::string family, weights;  // "q4_1 (187), f32 (61)"
  int64_t parameters = 0, size_bytes = 0, context = 0;
  int64_t cache_bytes = 0;  // keys and values in bf16 of `context` tokens
  bool chats = false;
  int64_t needed_bytes() const;
};

// Memory that programs can have without others being put out of it.
int64_t available_bytes();

FoundModel look_at_model(const std::filesystem::path& path);
// Of folders, and of models themselves, sorted by path. Throws Error where there is no such folder.
std::vector<FoundModel> find_models(const std::vector<std::string>& folders);

// Of those that fit: one that can chat, then the one with most parameters, then the smallest file. Null where
// none fits.
const FoundModel* recommend(const std::vector<FoundModel>& models, int64_t available);

}  // namespace tumbler::chat
