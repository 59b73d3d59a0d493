#include "formats/gguf_tokenizer.h"

#include <algorithm>
#include <unordered_map>

#include "base/error.h"
#include "tokens/byte_level.h"
#include "tokens/metaspace.h"
#include "tokens/model.h"
#include "tokens/tiktoken.h"
#include "tokens/tokenizer_json.h"

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

tokens::TokenizerKind get_kind(const GgufFile& file) {
  const std::string_view model = file.get_text("tokenizer.ggml.model");
  if (model == "gpt2") return tokens::TokenizerKind::kByteLevel;
  if (model == "llama") return tokens::TokenizerKind::kMetaspaceBpe;
  if (model == "t5") return tokens::TokenizerKind::kUnigram;
  throw Error("gguf",
              "{}: tokenizer.ggml.model: got '{}', expected gpt2 (byte-level BPE), llama (SentencePiece BPE) "
              "or t5 (unigram); use a model with such a tokenizer",
              file.path().string(), printable(model));
}

// What SentencePiece does to text by default, and models of the families that run here are trained without.
void check_text_is_kept(const GgufFile& file) {
  const auto characters = file.contents().find("tokenizer.ggml.precompiled_charsmap");
  if (characters && (characters->type != GgufType::array || characters->count > 0))
    throw Error(
        "gguf",
        "{}: tokenizer.ggml.precompiled_charsmap: got a table of {} bytes that rewrites text, expected "
        "none; use a tokenizer of normalization_rule_name identity",
        file.path().string(), characters->count);
  for (const char* key :
       {"tokenizer.ggml.remove_extra_whitespaces", "tokenizer.ggml.treat_whitespace_as_suffix"})
    if (file.find_flag(key).value_or(false))
      throw Error("gguf", "{}: {}: got true, expected false; use a tokenizer that keeps blanks as they are",
                  file.path().string(), key);
}

class Reader {
 public:
  explicit Reader(const GgufFile& file) : file_(file), where_(file.path().string()) {}

  tokens::TokenizerParts read() {
    parts_.name = file_.path().filename().string();
    bool add_bos = true;
    parts_.kind = get_kind(file_);
    if (parts_.kind == tokens::TokenizerKind::kByteLevel)
      add_bos = read_byte_level();
    else
      add_bos = read_sentence_piece();
    parts_.bos = id("tokenizer.ggml.bos_token_id");
    parts_.eos = id("tokenizer.ggml.eos_token_id");
    parts_.pad = id("tokenizer.ggml.padding_token_id");
    if (parts_.bos && file_.find_flag("tokenizer.ggml.add_bos_token").value_or(add_bos))
      parts_.prefix = {*parts_.bos};
    return std::move(parts_);
  }

 private:
  // Whether prompts begin with the begin-of-text token where the file does not say.
  bool read_byte_level() {
    const Pre& pre = get_pre(file_);
    parts_.pattern = pre.pattern;
    parts_.ignore_merges = pre.ignore_merges;
    parts_.nfc = file_.find_flag("tokenizer.ggml.normalizer.nfc").value_or(pre.nfc);
    parts_.add_prefix_space = file_.find_flag("tokenizer.ggml.add_space_prefix").value_or(false);
    read_tokens();
    read_merges();
    return pre.add_bos;
  }

  bool read_sentence_piece() {
    const bool unigram = parts_.kind == tokens::TokenizerKind::kUnigram;
    if (unigram) check_text_is_kept(file_);
    parts_.fuse_unk = true;
    parts_.byte_tokens.assign(256, -1);
    parts_.nfc = file_.find_flag("tokenizer.ggml.normalizer.nfc").value_or(false);
    parts_.metaspace.prepend = file_.find_flag("tokenizer.ggml.add_space_prefix").value_or(true);
    using Strip = tokens::Metaspace::Strip;
    parts_.metaspace.strip = parts_.metaspace.prepend ? Strip::kOne : Strip::kNone;
    read_tokens();
    read_scores();
    if (const auto unk = id("tokenizer.ggml.unknown_token_id")) parts_.unk = unk;
    const auto& bytes = parts_.byte_tokens;
    if (std::all_of(bytes.begin(), bytes.end(), [](TokenId byte) { return byte < 0; }))
      parts_.byte_tokens.clear();
    return !unigram;
  }

  void read_scores() {
    const auto scores = file_.contents().find("tokenizer.ggml.scores");
    if (!scores || scores->type != GgufType::array || scores->count != parts_.tokens.size() ||
        !scores->number(0).has_value())
      throw Error("gguf",
                  "{}: tokenizer.ggml.scores: got {} elements, expected a number for each of {} tokens",
                  where_, scores ? scores->count : 0, parts_.tokens.size());
    parts_.scores.reserve(scores->count);
    for (uint64_t i = 0; i < scores->count; ++i) parts_.scores.push_back(scores->number(i).value_or(0));
  }

  // Of a SentencePiece vocabulary.
  void add_piece(std::string_view text, TokenId token, int64_t kind) {
    if (kind == kByte) {
      const auto byte = tokens::parse_byte_token(text);
      if (!byte || parts_.byte_tokens[*byte] >= 0)
        throw Error("gguf",
                    "{}: tokenizer.ggml.tokens: got '{}' as a byte, expected <0x00> to <0xFF> once each",
                    where_, printable(text));
      parts_.byte_tokens[*byte] = token;
      parts_.tokens.emplace_back(1, static_cast<char>(*byte));
      return;
    }
    const bool has_text = kind == kNormal || kind == kUserDefined;
    parts_.tokens.push_back(has_text ? tokens::from_metaspace(text) : std::string());
    if (kind == kUnknown && !parts_.unk) parts_.unk = token;
  }

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
    if (parts_.kind != tokens::TokenizerKind::kByteLevel) {
      add_piece(text, token, kind);
    } else {
      parts_.tokens.push_back(plain ? tokens::from_byte_level(text) : std::string());
      if (plain) ids_.emplace(text, token);
    }
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

TokenKind kind_of(const tokens::Tokenizer& tokenizer, TokenId id) {
  const tokens::TokenizerParts& parts = tokenizer.parts();
  if (!tokenizer.has(id)) return kUnused;
  if (parts.kind == tokens::TokenizerKind::kByteLevel && !tokenizer.is_added(id)) return kNormal;
  if (parts.unk == id) return kUnknown;
  if (tokenizer.is_added(id)) return tokenizer.is_special(id) ? kControl : kUserDefined;
  const std::string_view bytes = tokenizer.token_bytes(id);
  const bool byte = bytes.size() == 1 && !parts.byte_tokens.empty() &&
                    parts.byte_tokens[static_cast<unsigned char>(bytes[0])] == id;
  return byte ? kByte : kNormal;
}

void write_vocabulary(GgufWriter& writer, const tokens::Tokenizer& tokenizer, int64_t vocab_size) {
  std::vector<std::string> texts;
  std::vector<int32_t> kinds;
  for (TokenId id = 0; id < vocab_size; ++id) {
    const TokenKind kind = kind_of(tokenizer, id);
    kinds.push_back(kind);
    // Tokens that users define are matched in text that has its blanks yet.
    texts.push_back(kind == kUnused        ? fmt::format("[PAD{}]", id)
                    : kind == kUserDefined ? std::string(tokenizer.token_bytes(id))
                                           : tokens::spelling(tokenizer, id));
  }
  writer.set_texts("tokenizer.ggml.tokens", texts);
  writer.set_i32s("tokenizer.ggml.token_type", kinds);
}

// A blank that is not a token's first character: a token of several words.
bool has_blank_inside(const std::string& token) {
  return token.find(' ', 1) != std::string::npos;
}

// Log-probabilities of a unigram model. Otherwise scores that lead to the same merges: of each token minus
// its place in the order in which merges make tokens. Throws Error where there are none: with scores a token
// is merged from any two tokens that make it.
std::vector<float> get_scores(const tokens::Tokenizer& tokenizer, int64_t vocab_size) {
  const tokens::TokenizerParts& parts = tokenizer.parts();
  const auto refuse = [&](std::string_view what) {
    throw Error("gguf", "{}: got {}, which tokenizer.ggml.scores cannot say; use another tokenizer",
                parts.name, what);
  };
  const bool unigram = parts.kind == tokens::TokenizerKind::kUnigram;
  if (parts.metaspace.split &&
      (!unigram || std::any_of(parts.tokens.begin(), parts.tokens.end(), has_blank_inside)))
    refuse("a tokenizer that splits before each blank");
  if (parts.ignore_merges) refuse("a tokenizer that ignores merges");
  std::vector<float> scores(static_cast<size_t>(vocab_size), 0.0f);
  if (!parts.scores.empty()) {
    for (size_t id = 0; id < parts.scores.size(); ++id) scores[id] = static_cast<float>(parts.scores[id]);
    return scores;
  }
  int64_t cuts = 0, place = 0;
  tokens::for_each_cut(tokenizer.model(), [&](TokenId left, TokenId right, TokenId) {
    ++cuts;
    if (tokenizer.model().pairs.find(left, right) == tokens::kNoMerge) refuse("a token that has no merge");
  });
  if (cuts != static_cast<int64_t>(parts.merges.size())) refuse("merges of one pair into several tokens");
  TokenId last = -1;
  for (const auto& [left, right] : parts.merges) {
    const auto made = static_cast<TokenId>(tokenizer.model().pairs.find(left, right) & 0xFFFFFFFF);
    if (made == last) continue;
    if (scores[static_cast<size_t>(made)] != 0) refuse("merges of a token that have others between them");
    scores[static_cast<size_t>(made)] = static_cast<float>(-++place);
    last = made;
  }
  // What nothing merges into: behind all others.
  for (TokenId id = 0; id < vocab_size; ++id)
    if (kind_of(tokenizer, id) == kNormal && scores[static_cast<size_t>(id)] == 0)
      scores[static_cast<size_t>(id)] = static_cast<float>(-++place);
  return scores;
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
  if (parts.prefix.size() > 1)
    throw Error("gguf", "{}: prompts begin with {} tokens, expected at most one; use another tokenizer",
                parts.name, parts.prefix.size());
  const bool pieces = parts.kind != tokens::TokenizerKind::kByteLevel;
  const bool nfc = !pieces && pre_of(parts).nfc;
  writer.set_text("tokenizer.ggml.model", parts.kind == tokens::TokenizerKind::kUnigram ? "t5"
                                          : pieces                                      ? "llama"
                                                                                        : "gpt2");
  writer.set_text("tokenizer.ggml.pre", pieces ? "default" : pre_of(parts).name);
  write_vocabulary(writer, tokenizer, vocab_size);
  if (pieces) {
    writer.set_f32s("tokenizer.ggml.scores", get_scores(tokenizer, vocab_size));
    if (parts.unk) writer.set_u32("tokenizer.ggml.unknown_token_id", *parts.unk);
  } else {
    std::vector<std::string> merges;
    for (const auto& [left, right] : tokens::recover_merges(tokenizer))
      merges.push_back(tokens::spelling(tokenizer, left) + " " + tokens::spelling(tokenizer, right));
    writer.set_texts("tokenizer.ggml.merges", merges);
  }
  const auto set_id = [&](const char* key, int64_t id) {
    if (id >= 0) writer.set_u32(key, id);
  };
  set_id("tokenizer.ggml.bos_token_id", !parts.prefix.empty()
                                            ? parts.prefix[0]
                                            : parts.bos.value_or(static_cast<TokenId>(files.bos_token_id)));
  const auto& eos = files.eos_token_ids;
  set_id("tokenizer.ggml.eos_token_id", !eos.empty() ? eos.front() : parts.eos.value_or(-1));
  if (eos.size() > 1) set_id("tokenizer.ggml.eot_token_id", eos.back());
  if (eos.size() > 2) set_id("tokenizer.ggml.eom_token_id", eos[1]);
  set_id("tokenizer.ggml.padding_token_id", parts.pad.value_or(static_cast<TokenId>(files.pad_token_id)));
  writer.set_flag("tokenizer.ggml.add_bos_token", !parts.prefix.empty());
  writer.set_flag("tokenizer.ggml.add_space_prefix",
                  pieces ? parts.metaspace.prepend : parts.add_prefix_space);
  if (parts.nfc != nfc) writer.set_flag("tokenizer.ggml.normalizer.nfc", parts.nfc);
  if (!chat_template.empty()) writer.set_text("tokenizer.chat_template", chat_template);
}

}  // namespace tumbler::formats
