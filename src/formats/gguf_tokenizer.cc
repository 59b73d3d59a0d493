#include "formats/gguf_tokenizer.h"

#include <algorithm>
#include <unordered_map>

#include "base/error.h"
#include "tokens/byte_level.h"
#include "tokens/tiktoken.h"

namespace tumbler::formats {
namespace {

using tokens::Pattern;
using tokens::TokenId;

// tokenizer.ggml.token_type
enum TokenKind : int32_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6
};

// Names of tokenizer.ggml.pre, those that are written first. llama.cpp knows from the name alone whether a
// piece that is a token is taken whole, and whether a begin-of-text token is put first; NFC, which it never
// does, is what the tokenizer.json files of these models ask for.
struct Pre {
  const char* name;
  Pattern pattern;
  bool ignore_merges = false;
  bool nfc = false;
  bool add_bos = false;
};
constexpr Pre kPres[] = {
    {"gpt-2", Pattern::kGpt2},
    {"smollm", Pattern::kDigits},
    {"llama-bpe", Pattern::kLlama3, true, false, true},
    {"smaug-bpe", Pattern::kLlama3},
    {"qwen2", Pattern::kQwen2, false, true},
    {"qwen35", Pattern::kQwen35, false, true},
    {"gpt-4o", Pattern::kO200k},
    {"tekken", Pattern::kTekken, true, false, true},
    {"deepseek-r1-qwen", Pattern::kQwen2},
    {"llama3", Pattern::kLlama3, true, false, true},
    {"llama-v3", Pattern::kLlama3, true, false, true},
    {"falcon3", Pattern::kLlama3, true, false, true},
    {"dbrx", Pattern::kLlama3},
    {"llama4", Pattern::kO200k},
    {"megrez", Pattern::kQwen2},
    {"starcoder", Pattern::kDigits},
    {"refact", Pattern::kDigits},
    {"codeshell", Pattern::kDigits},
    {"exaone", Pattern::kDigits},
    {"minerva-7b", Pattern::kDigits},
    {"phi-2", Pattern::kGpt2},
    {"olmo", Pattern::kGpt2},
    {"gigachat", Pattern::kGpt2},
};

const Pre& get_pre(const GgufFile& file) {
  const std::string_view name = file.get_text("tokenizer.ggml.pre");
  for (const Pre& pre : kPres)
    if (name == pre.name) return pre;
  std::string known;
  for (const Pre& pre : kPres) known += fmt::format("{}{}", known.empty() ? "" : ", ", pre.name);
  throw Error("gguf", "{}: tokenizer.ggml.pre: got '{}', expected one of {}", file.path().string(),
              printable(name), known);
}

void require_byte_level(const GgufFile& file) {
  const std::string_view model = file.get_text("tokenizer.ggml.model");
  if (model != "gpt2")
    throw Error(
        "gguf",
        "{}: tokenizer.ggml.model: got '{}'{}, expected gpt2 (byte-level BPE); use a model with such a "
        "tokenizer",
        file.path().string(), printable(model), model == "llama" ? " (SentencePiece)" : "");
}

class Reader {
 public:
  explicit Reader(const GgufFile& file) : file_(file), where_(file.path().string()) {}

  tokens::TokenizerParts read() {
    require_byte_level(file_);
    const Pre& pre = get_pre(file_);
    parts_.name = file_.path().filename().string();
    parts_.pattern = pre.pattern;
    parts_.ignore_merges = pre.ignore_merges;
    parts_.nfc = file_.find_flag("tokenizer.ggml.normalizer.nfc").value_or(pre.nfc);
    parts_.add_prefix_space = file_.find_flag("tokenizer.ggml.add_space_prefix").value_or(false);
    read_tokens();
    read_merges();
    parts_.bos = id("tokenizer.ggml.bos_token_id");
    parts_.eos = id("tokenizer.ggml.eos_token_id");
    parts_.pad = id("tokenizer.ggml.padding_token_id");
    return std::move(parts_);
  }

 private:
  std::optional<TokenId> id(std::string_view key) const {
    const std::optional<int64_t> value = file_.find_integer(key);
    if (!value) return std::nullopt;
    if (*value < 0 || *value >= static_cast<int64_t>(parts_.tokens.size()))
      throw Error("gguf", "{}: {}: got {}, expected an id below {}", where_, key, *value,
                  parts_.tokens.size());
    return static_cast<TokenId>(*value);
  }

  void read_tokens() {
    const auto list = file_.find_texts("tokenizer.ggml.tokens");
    if (!list || list->count == 0)
      throw Error("gguf", "{}: tokenizer.ggml.tokens: missing; the file has no tokenizer", where_);
    const auto kinds = file_.contents().find("tokenizer.ggml.token_type");
    if (kinds &&
        (kinds->type != GgufType::array || kinds->count != list->count || !kinds->integer(0).has_value()))
      throw Error("gguf",
                  "{}: tokenizer.ggml.token_type: got {} elements, expected a number for each of {} tokens",
                  where_, kinds->count, list->count);
    uint64_t i = 0;
    list->for_each_text([&](std::string_view text) {
      add_token(text, static_cast<TokenId>(i), kinds ? kinds->integer(i).value_or(0) : int64_t{kNormal});
      ++i;
    });
  }
  void add_token(std::string_view text, TokenId token, int64_t kind) {
    if (kind < kNormal || kind > kByte)
      throw Error("gguf", "{}: tokenizer.ggml.token_type: got {} for token {}, expected {} to {}", where_,
                  kind, token, int{kNormal}, int{kByte});
    const bool plain = kind == kNormal || kind == kByte;
    parts_.tokens.push_back(plain ? tokens::from_byte_level(text) : std::string());
    if (plain) ids_.emplace(text, token);
    if (plain || kind == kUnused || text.empty()) return;
    tokens::AddedToken added;
    added.text = text;
    added.id = token;
    added.special = kind != kUserDefined;
    parts_.added.push_back(std::move(added));
  }

  void read_merges() {
    const auto list = file_.find_texts("tokenizer.ggml.merges");
    if (!list)
      throw Error("gguf", "{}: tokenizer.ggml.merges: missing, expected those of a byte-level BPE", where_);
    parts_.merges.reserve(list->count);
    list->for_each_text([&](std::string_view text) {
      // No token begins with a blank that is not its first character.
      const size_t space = text.find(' ', 1);
      if (space == std::string_view::npos)
        throw Error("gguf", "{}: tokenizer.ggml.merges: got '{}', expected two tokens and a blank", where_,
                    printable(text));
      parts_.merges.emplace_back(token_of(text.substr(0, space)), token_of(text.substr(space + 1)));
    });
  }
  TokenId token_of(std::string_view text) const {
    const auto found = ids_.find(text);
    if (found == ids_.end())
      throw Error("gguf", "{}: tokenizer.ggml.merges: got a merge of '{}', which is no token", where_,
                  printable(text));
    return found->second;
  }

  const GgufFile& file_;
  std::string where_;
  tokens::TokenizerParts parts_;
  std::unordered_map<std::string_view, TokenId> ids_;  // by the spelling in the file
};

const Pre& pre_of(const tokens::TokenizerParts& parts) {
  const Pre* same_pattern = nullptr;
  for (const Pre& pre : kPres) {
    if (pre.pattern != parts.pattern) continue;
    if (pre.ignore_merges == (parts.ignore_merges || parts.ranks)) return pre;
    if (same_pattern == nullptr) same_pattern = &pre;
  }
  if (same_pattern == nullptr)
    throw Error("gguf",
                "{}: got the split pattern {}, which no tokenizer.ggml.pre stands for; use another tokenizer",
                parts.name, pattern_name(parts.pattern));
  return *same_pattern;
}

}  // namespace

tokens::Tokenizer read_gguf_tokenizer(const GgufFile& file) {
  return tokens::Tokenizer::from_parts(Reader(file).read());
}

void read_gguf_token_ids(const GgufFile& file, int64_t vocab_size, ModelFiles& files) {
  const auto id = [&](std::string_view key) {
    const int64_t value = file.find_integer(key).value_or(-1);
    if (value >= vocab_size)
      throw Error("gguf", "{}: {}: got {}, expected an id below {}", file.path().string(), key, value,
                  vocab_size);
    return value;
  };
  // SentencePiece models begin with it unless the file says otherwise, byte-level ones by their name.
  bool add_bos = file.find_text("tokenizer.ggml.model").value_or("") == "llama";
  for (const Pre& pre : kPres)
    if (file.find_text("tokenizer.ggml.pre").value_or("") == pre.name) add_bos |= pre.add_bos;
  if (file.find_flag("tokenizer.ggml.add_bos_token").value_or(add_bos))
    files.bos_token_id = id("tokenizer.ggml.bos_token_id");
  for (const char* key :
       {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"}) {
    const int64_t value = id(key);
    auto& all = files.eos_token_ids;
    if (value >= 0 && std::find(all.begin(), all.end(), value) == all.end()) all.push_back(value);
  }
  files.pad_token_id = id("tokenizer.ggml.padding_token_id");
}

void write_gguf_tokenizer(GgufWriter& writer, const tokens::Tokenizer& tokenizer, int64_t vocab_size,
                          const ModelFiles& files, std::string_view chat_template) {
  const tokens::TokenizerParts& parts = tokenizer.parts();
  const Pre& pre = pre_of(parts);
  writer.set_text("tokenizer.ggml.model", "gpt2");
  writer.set_text("tokenizer.ggml.pre", pre.name);
  std::vector<std::string> texts;
  std::vector<int32_t> kinds;
  for (TokenId id = 0; id < vocab_size; ++id) {
    const bool used = tokenizer.has(id), added = used && tokenizer.is_added(id);
    kinds.push_back(!used ? kUnused : !added ? kNormal : tokenizer.is_special(id) ? kControl : kUserDefined);
    texts.push_back(!used   ? fmt::format("[PAD{}]", id)
                    : added ? std::string(tokenizer.token_bytes(id))
                            : tokens::to_byte_level(tokenizer.token_bytes(id)));
  }
  writer.set_texts("tokenizer.ggml.tokens", texts);
  writer.set_i32s("tokenizer.ggml.token_type", kinds);
  std::vector<std::string> merges;
  for (const auto& [left, right] : tokens::recover_merges(tokenizer))
    merges.push_back(tokens::to_byte_level(tokenizer.token_bytes(left)) + " " +
                     tokens::to_byte_level(tokenizer.token_bytes(right)));
  writer.set_texts("tokenizer.ggml.merges", merges);
  const auto set_id = [&](const char* key, int64_t id) {
    if (id >= 0) writer.set_u32(key, id);
  };
  set_id("tokenizer.ggml.bos_token_id", parts.bos.value_or(static_cast<TokenId>(files.bos_token_id)));
  const auto& eos = files.eos_token_ids;
  set_id("tokenizer.ggml.eos_token_id", !eos.empty() ? eos.front() : parts.eos.value_or(-1));
  if (eos.size() > 1) set_id("tokenizer.ggml.eot_token_id", eos.back());
  if (eos.size() > 2) set_id("tokenizer.ggml.eom_token_id", eos[1]);
  set_id("tokenizer.ggml.padding_token_id", parts.pad.value_or(static_cast<TokenId>(files.pad_token_id)));
  writer.set_flag("tokenizer.ggml.add_bos_token", files.bos_token_id >= 0);
  writer.set_flag("tokenizer.ggml.add_space_prefix", parts.add_prefix_space);
  if (parts.nfc != pre.nfc) writer.set_flag("tokenizer.ggml.normalizer.nfc", parts.nfc);
  if (!chat_template.empty()) writer.set_text("tokenizer.chat_template", chat_template);
}

}  // namespace tumbler::formats
