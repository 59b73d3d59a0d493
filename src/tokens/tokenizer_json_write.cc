#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "io/file.h"
#include "tokens/byte_level.h"
#include "tokens/tiktoken.h"
#include "tokens/tokenizer_json.h"

namespace tumbler::tokens {
namespace {

using Json = nlohmann::ordered_json;

Json byte_level(bool add_prefix_space, bool use_regex) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", add_prefix_space},
          {"trim_offsets", true},
          {"use_regex", use_regex}};
}

Json pre_tokenizer(const TokenizerParts& parts) {
  if (parts.pattern == Pattern::kGpt2) return byte_level(parts.add_prefix_space, true);
  Json first;
  if (parts.pattern == Pattern::kDigits) {
    first = {{"type", "Digits"}, {"individual_digits", true}};
  } else {
    first = {{"type", "Split"},
             {"pattern", {{"Regex", pattern_regex(parts.pattern)}}},
             {"behavior", "Isolated"},
             {"invert", false}};
  }
  return {{"type", "Sequence"},
          {"pretokenizers",
           Json::array({first, byte_level(parts.add_prefix_space, parts.pattern == Pattern::kDigits)})}};
}

Json added_token(const AddedToken& token) {
  return {{"id", token.id},          {"content", token.text},  {"single_word", token.single_word},
          {"lstrip", token.lstrip},  {"rstrip", token.rstrip}, {"normalized", token.normalized},
          {"special", token.special}};
}

std::vector<AddedToken> sorted_added(const TokenizerParts& parts) {
  std::vector<AddedToken> added = parts.added;
  std::sort(added.begin(), added.end(), [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
  return added;
}

Json vocab_json(const Tokenizer& tokenizer) {
  Json vocab = Json::object();
  const auto size = static_cast<TokenId>(tokenizer.parts().tokens.size());
  // nlohmann's ordered_json looks keys up one by one: build the list of pairs itself.
  auto& object = vocab.get_ref<Json::object_t&>();
  object.reserve(static_cast<size_t>(size));
  // Added tokens among the others' ids (SmolLM2's are the first) too: `tokenizers` numbers those that are no
  // part of the vocabulary itself, from its end on, whatever id the file says.
  for (TokenId id = 0; id < size; ++id) {
    if (!tokenizer.has(id)) continue;
    const std::string_view bytes = tokenizer.token_bytes(id);
    static_cast<std::vector<Json::object_t::value_type>&>(object).emplace_back(
        tokenizer.is_added(id) ? std::string(bytes) : to_byte_level(bytes), id);
  }
  return vocab;
}

std::vector<std::string> merge_lines(const Tokenizer& tokenizer) {
  std::vector<std::string> lines;
  for (const auto& [left, right] : recover_merges(tokenizer))
    lines.push_back(to_byte_level(tokenizer.token_bytes(left)) + " " +
                    to_byte_level(tokenizer.token_bytes(right)));
  return lines;
}

Json token_or_null(const Tokenizer& tokenizer, std::optional<TokenId> id) {
  return id ? Json(std::string(tokenizer.token_bytes(*id))) : Json(nullptr);
}

}  // namespace

std::string to_tokenizer_json(const Tokenizer& tokenizer) {
  const TokenizerParts& parts = tokenizer.parts();
  Json json;
  json["version"] = "1.0";
  json["truncation"] = nullptr;
  json["padding"] = nullptr;
  json["added_tokens"] = Json::array();
  for (const AddedToken& token : sorted_added(parts)) json["added_tokens"].push_back(added_token(token));
  json["normalizer"] = parts.nfc ? Json{{"type", "NFC"}} : Json(nullptr);
  json["pre_tokenizer"] = pre_tokenizer(parts);
  json["post_processor"] = byte_level(false, false);
  json["decoder"] = byte_level(false, false);
  Json& model = json["model"];
  model["type"] = "BPE";
  model["dropout"] = nullptr;
  model["unk_token"] = nullptr;
  model["continuing_subword_prefix"] = "";
  model["end_of_word_suffix"] = "";
  model["fuse_unk"] = false;
  model["byte_fallback"] = false;
  model["ignore_merges"] = parts.ranks || parts.ignore_merges;
  model["vocab"] = vocab_json(tokenizer);
  model["merges"] = Json::array();
  for (const std::string& line : merge_lines(tokenizer)) {
    const size_t space = line.find(' ');
    model["merges"].push_back({line.substr(0, space), line.substr(space + 1)});
  }
  return json.dump(2) + "\n";
}

std::string to_tokenizer_config_json(const Tokenizer& tokenizer) {
  const TokenizerParts& parts = tokenizer.parts();
  Json json;
  json["add_bos_token"] = false;
  json["add_prefix_space"] = parts.add_prefix_space;
  Json& decoder = json["added_tokens_decoder"] = Json::object();
  Json additional = Json::array();
  for (const AddedToken& token : sorted_added(parts)) {
    Json entry = added_token(token);
    entry.erase("id");
    decoder[std::to_string(token.id)] = std::move(entry);
    if (token.special) additional.push_back(token.text);
  }
  json["additional_special_tokens"] = std::move(additional);
  json["bos_token"] = token_or_null(tokenizer, parts.bos);
  json["eos_token"] = token_or_null(tokenizer, parts.eos);
  json["pad_token"] = token_or_null(tokenizer, parts.pad);
  json["unk_token"] = nullptr;
  if (tokenizer.find_added("<|im_start|>") && tokenizer.find_added("<|im_end|>"))
    json["chat_template"] = chat_template();
  json["clean_up_tokenization_spaces"] = false;
  json["errors"] = "replace";
  json["model_max_length"] = 131072;
  json["split_special_tokens"] = false;
  // Not Qwen2Tokenizer: from version 5 on, transformers gives that class NFC normalisation whatever
  // tokenizer.json says, and text that is not in NFC would get other ids than here. This class does what
  // tokenizer.json says.
  json["tokenizer_class"] = "PreTrainedTokenizerFast";
  return json.dump(2) + "\n";
}

void save_tokenizer(const Tokenizer& tokenizer, const std::filesystem::path& directory) {
  io::make_directories(directory);
  std::string merges = "#version: 0.2\n";
  for (const std::string& line : merge_lines(tokenizer)) merges += line + "\n";
  io::write_file(directory / "vocab.json", vocab_json(tokenizer).dump());
  io::write_file(directory / "merges.txt", merges);
  io::write_file(directory / "tokenizer_config.json", to_tokenizer_config_json(tokenizer));
  io::write_file(directory / "tokenizer.json", to_tokenizer_json(tokenizer));
}

}  // namespace tumbler::tokens
