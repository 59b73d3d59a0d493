#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "io/file.h"
#include "tokens/byte_level.h"
#include "tokens/metaspace.h"
#include "tokens/model.h"
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

Json replace(std::string_view from, std::string_view to) {
  return {{"type", "Replace"}, {"pattern", {{"String", from}}}, {"content", to}};
}

// Blanks are marked by a normalizer or, where that depends on what is there, by a pre-tokenizer.
bool marks_by_normalizer(const Metaspace& how) {
  return !how.split && !how.first_only && !how.unless_blank;
}

Json normalizer(const TokenizerParts& parts) {
  Json steps = Json::array();
  if (parts.nfc) steps.push_back({{"type", "NFC"}});
  if (parts.kind != TokenizerKind::kByteLevel && marks_by_normalizer(parts.metaspace)) {
    if (parts.metaspace.prepend) steps.push_back({{"type", "Prepend"}, {"prepend", kMetaspace}});
    steps.push_back(replace(" ", kMetaspace));
  }
  if (steps.empty()) return nullptr;
  if (steps.size() == 1) return steps[0];
  return {{"type", "Sequence"}, {"normalizers", steps}};
}

Json metaspace(std::string_view scheme, bool split) {
  return {{"type", "Metaspace"}, {"replacement", kMetaspace}, {"prepend_scheme", scheme}, {"split", split}};
}

Json decoder(const TokenizerParts& parts) {
  if (parts.kind == TokenizerKind::kByteLevel) return byte_level(false, false);
  const Metaspace::Strip strip = parts.metaspace.strip;
  Json steps = Json::array();
  if (!parts.byte_tokens.empty()) steps.push_back({{"type", "ByteFallback"}});
  if (strip == Metaspace::Strip::kFirstToken) {
    steps.push_back(metaspace("always", parts.metaspace.split));
  } else {
    steps.insert(steps.begin(), replace(kMetaspace, " "));
    steps.push_back({{"type", "Fuse"}});
    if (strip == Metaspace::Strip::kOne)
      steps.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  }
  if (steps.size() == 1) return steps[0];
  return {{"type", "Sequence"}, {"decoders", steps}};
}

// What stands before a text and before the second of a pair.
Json post_processor(const TokenizerParts& parts, const Tokenizer& tokenizer) {
  if (parts.prefix.empty())
    return parts.kind == TokenizerKind::kByteLevel ? byte_level(false, false) : Json(nullptr);
  Json single = Json::array(), pair = Json::array(), special = Json::object();
  const auto add = [&](const char* sequence, int type, Json& list) {
    for (const TokenId id : parts.prefix) {
      const std::string text = spelling(tokenizer, id);
      list.push_back({{"SpecialToken", {{"id", text}, {"type_id", type}}}});
      special[text] = {{"id", text}, {"ids", {id}}, {"tokens", {text}}};
    }
    list.push_back({{"Sequence", {{"id", sequence}, {"type_id", type}}}});
  };
  add("A", 0, single);
  add("A", 0, pair);
  add("B", 1, pair);
  const Json processor = {
      {"type", "TemplateProcessing"}, {"single", single}, {"pair", pair}, {"special_tokens", special}};
  if (parts.kind != TokenizerKind::kByteLevel) return processor;
  return {{"type", "Sequence"}, {"processors", {byte_level(false, false), processor}}};
}

Json pre_tokenizer(const TokenizerParts& parts) {
  if (parts.kind != TokenizerKind::kByteLevel) {
    const Metaspace& how = parts.metaspace;
    if (marks_by_normalizer(how)) return nullptr;
    return metaspace(!how.prepend ? "never" : how.first_only ? "first" : "always", how.split);
  }
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
    static_cast<std::vector<Json::object_t::value_type>&>(object).emplace_back(spelling(tokenizer, id), id);
  }
  return vocab;
}

Json unigram_json(const Tokenizer& tokenizer) {
  const TokenizerParts& parts = tokenizer.parts();
  Json vocab = Json::array();
  size_t size = parts.tokens.size();  // less the unused ids at the end, which a model's width may bring
  while (size > 0 && !tokenizer.has(static_cast<TokenId>(size - 1))) --size;
  for (size_t id = 0; id < size; ++id)
    vocab.push_back({spelling(tokenizer, static_cast<TokenId>(id)), parts.scores[id]});
  return {{"type", "Unigram"},
          {"unk_id", parts.unk.value()},
          {"vocab", std::move(vocab)},
          {"byte_fallback", !parts.byte_tokens.empty()}};
}

std::vector<std::string> merge_lines(const Tokenizer& tokenizer) {
  std::vector<std::string> lines;
  for (const auto& [left, right] : recover_merges(tokenizer))
    lines.push_back(spelling(tokenizer, left) + " " + spelling(tokenizer, right));
  return lines;
}

Json token_or_null(const Tokenizer& tokenizer, std::optional<TokenId> id) {
  return id ? Json(spelling(tokenizer, *id)) : Json(nullptr);
}

}  // namespace

std::string spelling(const Tokenizer& tokenizer, TokenId id) {
  const TokenizerParts& parts = tokenizer.parts();
  if (tokenizer.is_added(id))
    return parts.added[static_cast<size_t>(tokenizer.model().added_of[static_cast<size_t>(id)])].text;
  const std::string_view bytes = tokenizer.token_bytes(id);
  if (parts.kind == TokenizerKind::kByteLevel) return to_byte_level(bytes);
  if (bytes.size() == 1 && !parts.byte_tokens.empty()) {
    const auto byte = static_cast<uint8_t>(bytes[0]);
    if (parts.byte_tokens[byte] == id) return byte_token(byte);
  }
  return to_metaspace(bytes);
}

std::string to_tokenizer_json(const Tokenizer& tokenizer) {
  const TokenizerParts& parts = tokenizer.parts();
  Json json;
  json["version"] = "1.0";
  json["truncation"] = nullptr;
  json["padding"] = nullptr;
  json["added_tokens"] = Json::array();
  for (const AddedToken& token : sorted_added(parts)) json["added_tokens"].push_back(added_token(token));
  json["normalizer"] = normalizer(parts);
  json["pre_tokenizer"] = pre_tokenizer(parts);
  json["post_processor"] = post_processor(parts, tokenizer);
  json["decoder"] = decoder(parts);
  Json& model = json["model"];
  if (parts.kind == TokenizerKind::kUnigram) {
    model = unigram_json(tokenizer);
    return json.dump(2) + "\n";
  }
  const bool bytes = parts.kind == TokenizerKind::kByteLevel;
  model["type"] = "BPE";
  model["dropout"] = nullptr;
  model["unk_token"] = bytes || !parts.unk ? Json(nullptr) : Json(spelling(tokenizer, *parts.unk));
  model["continuing_subword_prefix"] = bytes ? Json("") : Json(nullptr);
  model["end_of_word_suffix"] = bytes ? Json("") : Json(nullptr);
  model["fuse_unk"] = parts.fuse_unk;
  model["byte_fallback"] = !parts.byte_tokens.empty();
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
  json["add_bos_token"] = parts.bos && parts.prefix == std::vector<TokenId>{*parts.bos};
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
  json["unk_token"] = token_or_null(tokenizer, parts.unk);
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
  if (tokenizer.parts().kind == TokenizerKind::kByteLevel) {
    std::string merges = "#version: 0.2\n";
    for (const std::string& line : merge_lines(tokenizer)) merges += line + "\n";
    io::write_file(directory / "vocab.json", vocab_json(tokenizer).dump());
    io::write_file(directory / "merges.txt", merges);
  }
  io::write_file(directory / "tokenizer_config.json", to_tokenizer_config_json(tokenizer));
  io::write_file(directory / "tokenizer.json", to_tokenizer_json(tokenizer));
}

}  // namespace tumbler::tokens
