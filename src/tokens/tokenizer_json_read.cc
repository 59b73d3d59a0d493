#include <nlohmann/json.hpp>
#include <unordered_map>
#include <unordered_set>

#include <simdjson.h>

#include "base/error.h"
#include "tokens/byte_level.h"
#include "tokens/metaspace.h"
#include "tokens/model.h"
#include "tokens/tokenizer_json.h"

namespace tumbler::tokens {
namespace {

namespace dom = simdjson::dom;

constexpr int64_t kMaxId = 0x7FFFFFFF;
constexpr size_t kMaxPrefix = 16;  // tokens before a text

// A field of an object, or nothing where it is missing or null.
bool find(const dom::element& parent, std::string_view key, dom::element& out) {
  dom::object object;
  return parent.get(object) == simdjson::SUCCESS && object.at_key(key).get(out) == simdjson::SUCCESS &&
         !out.is_null();
}

bool get_bool(const dom::element& parent, std::string_view key, bool missing) {
  dom::element field;
  bool value = missing;
  if (find(parent, key, field) && field.get(value) != simdjson::SUCCESS) value = missing;
  return value;
}

int64_t get_integer(const dom::element& parent, std::string_view key) {
  dom::element field;
  int64_t value = -1;
  if (find(parent, key, field) && field.get(value) != simdjson::SUCCESS) value = -1;
  return value;
}

std::string_view get_string(const dom::element& parent, std::string_view key) {
  dom::element field;
  std::string_view value;
  if (find(parent, key, field) && field.get(value) == simdjson::SUCCESS) return value;
  return {};
}

class Reader {
 public:
  Reader(std::string_view where, TokenizerParts& parts) : where_(where), parts_(parts) {}

  void read(const dom::element& root) {
    dom::object object;
    if (root.get(object) != simdjson::SUCCESS) fail("got no object", "the object of a tokenizer.json");
    dom::element model;
    if (!find(root, "model", model)) fail("no field 'model'", "a BPE or Unigram");
    read_kind(root, model);
    read_normalizer(root);
    if (parts_.kind == TokenizerKind::kByteLevel)
      read_pre_tokenizer(root);
    else
      read_blanks(root);
    if (parts_.kind == TokenizerKind::kUnigram)
      read_unigram(model);
    else
      read_model(model);
    read_added(root);
    read_post_processor(root);
  }

 private:
  [[noreturn]] void fail(std::string_view got, std::string_view expected) const {
    throw Error("tokenizer", "{}: {}, expected {}; use another tokenizer", where_, got, expected);
  }

  std::vector<dom::element> pre_tokenizer_steps(const dom::element& root) const {
    std::vector<dom::element> steps;
    dom::element pre;
    if (find(root, "pre_tokenizer", pre)) flatten(pre, "pretokenizers", steps, 0);
    return steps;
  }

  void read_kind(const dom::element& root, const dom::element& model) {
    const std::string_view type = get_string(model, "type");
    if (!type.empty() && type != "BPE" && type != "Unigram")
      fail(fmt::format("model '{}'", type), "BPE or Unigram");
    const auto steps = pre_tokenizer_steps(root);
    const bool bytes = !steps.empty() && get_string(steps.back(), "type") == "ByteLevel";
    if (type == "Unigram") {
      if (bytes) fail("a unigram model of bytes", "one of characters");
      parts_.kind = TokenizerKind::kUnigram;
    } else if (!bytes) {
      parts_.kind = TokenizerKind::kMetaspaceBpe;
    }
  }

  void read_normalizer(const dom::element& root) {
    dom::element normalizer;
    std::vector<dom::element> steps;
    if (find(root, "normalizer", normalizer)) flatten(normalizer, "normalizers", steps, 0);
    for (const dom::element& step : steps) {
      const std::string_view type = get_string(step, "type");
      const bool blanks = parts_.kind != TokenizerKind::kByteLevel;
      if (type == "NFC") {
        parts_.nfc = true;
      } else if (blanks && type == "Prepend" && get_string(step, "prepend") == kMetaspace) {
        parts_.metaspace.prepend = true;
      } else if (blanks && type == "Replace" && get_pattern(step) == " " &&
                 get_string(step, "content") == kMetaspace) {
        replaces_blanks_ = true;
      } else {
        fail(fmt::format("normalizer '{}'", type),
             blanks ? "NFC, a Prepend of \u2581, a Replace of blanks by \u2581, or none" : "none or NFC");
      }
    }
  }

  // The text that a step looks for; empty where it is a regular expression.
  static std::string_view get_pattern(const dom::element& step) {
    dom::element pattern;
    return find(step, "pattern", pattern) ? get_string(pattern, "String") : std::string_view();
  }

  void read_blanks(const dom::element& root) {
    for (const dom::element& step : pre_tokenizer_steps(root)) {
      const std::string_view type = get_string(step, "type");
      // Gemma's: behind a Replace there are no blanks left to split at.
      if (type == "Split" && replaces_blanks_ && get_pattern(step) == " ") continue;
      if (type != "Metaspace" || get_string(step, "replacement") != kMetaspace)
        fail(fmt::format("pre_tokenizer '{}'", type), "ByteLevel, or Metaspace with \u2581");
      if (replaces_metaspace_) fail("two Metaspace steps", "one");
      replaces_blanks_ = replaces_metaspace_ = true;
      Metaspace& how = parts_.metaspace;
      const std::string_view scheme = prepend_scheme(step);
      how.unless_blank = scheme != "never" && !how.prepend;
      how.first_only = scheme == "first" && !how.prepend;
      how.prepend |= scheme != "never";
      how.split = get_bool(step, "split", true);
    }
    if (!replaces_blanks_)
      fail("no step that makes \u2581 of blanks", "ByteLevel, Metaspace or a Replace normalizer");
    read_decoder(root);
  }

  std::string_view prepend_scheme(const dom::element& step) const {
    std::string_view scheme = get_string(step, "prepend_scheme");
    if (scheme.empty()) scheme = get_bool(step, "add_prefix_space", true) ? "always" : "never";
    if (scheme != "always" && scheme != "first" && scheme != "never")
      fail(fmt::format("prepend_scheme '{}'", scheme), "always, first or never");
    return scheme;
  }

  void read_decoder(const dom::element& root) {
    dom::element decoder;
    std::vector<dom::element> steps;
    if (find(root, "decoder", decoder)) flatten(decoder, "decoders", steps, 0);
    bool blanks = false;
    using Strip = Metaspace::Strip;
    for (const dom::element& step : steps) {
      const std::string_view type = get_string(step, "type");
      if (type == "Replace" && get_pattern(step) == kMetaspace && get_string(step, "content") == " ") {
        blanks = true;
      } else if (type == "Metaspace" && get_string(step, "replacement") == kMetaspace) {
        blanks = true;
        if (prepend_scheme(step) != "never") parts_.metaspace.strip = Strip::kFirstToken;
      } else if (type == "ByteFallback") {
        decodes_bytes_ = true;
      } else if (type == "Strip" && get_string(step, "content") == " " && get_integer(step, "start") == 1 &&
                 get_integer(step, "stop") == 0) {
        parts_.metaspace.strip = Strip::kOne;
      } else if (type != "Fuse") {
        fail(fmt::format("decoder '{}'", type),
             "Metaspace, or a sequence of Replace, ByteFallback, Fuse and Strip");
      }
    }
    if (!blanks) fail("a decoder that leaves \u2581 as it is", "one that makes blanks of it");
  }

  // "single" of a TemplateProcessing: what stands before the text.
  void read_post_processor(const dom::element& root) {
    dom::element post, single, special;
    std::vector<dom::element> steps;
    dom::array items;
    if (!find(root, "post_processor", post)) return;
    parts_.has_post_processor = true;
    flatten(post, "processors", steps, 0);
    for (const dom::element& step : steps) {
      if (get_string(step, "type") != "TemplateProcessing") continue;
      if (!find(step, "single", single) || single.get(items) != simdjson::SUCCESS)
        fail("a TemplateProcessing without 'single'", "a list");
      for (const dom::element item : items) {
        if (!find(item, "SpecialToken", special)) break;
        if (parts_.prefix.size() >= kMaxPrefix)
          fail("a long TemplateProcessing", "a few tokens before a text");
        read_prefix(step, get_string(special, "id"));
      }
    }
  }

  void read_prefix(const dom::element& step, std::string_view name) {
    dom::element tokens, token, list;
    dom::array ids;
    if (!find(step, "special_tokens", tokens) || !find(tokens, name, token) || !find(token, "ids", list) ||
        list.get(ids) != simdjson::SUCCESS)
      fail(fmt::format("a TemplateProcessing of '{}'", name.substr(0, 60)), "a token that it lists");
    int64_t id = -1;
    if (ids.size() != 1 || ids.at(0).get(id) != simdjson::SUCCESS || id < 0 || id > kMaxId)
      fail(fmt::format("a TemplateProcessing with {} ids for '{}'", ids.size(), name.substr(0, 60)),
           "one id");
    parts_.prefix.push_back(static_cast<TokenId>(id));
  }

  // The steps of a Sequence, and of those within it.
  void flatten(const dom::element& step, std::string_view field, std::vector<dom::element>& out,
               int depth) const {
    dom::element list;
    dom::array items;
    if (get_string(step, "type") != "Sequence" || depth > 4) {
      out.push_back(step);
    } else if (find(step, field, list) && list.get(items) == simdjson::SUCCESS) {
      for (const dom::element item : items) flatten(item, field, out, depth + 1);
    }
  }

  // The regular expression of a Split step that keeps all of the text.
  std::string_view split_regex(const dom::element& step) const {
    const std::string_view behavior = get_string(step, "behavior");
    const bool invert = get_bool(step, "invert", false);
    dom::element pattern;
    if (!find(step, "pattern", pattern) || get_string(pattern, "Regex").empty())
      fail("a Split without a regular expression", "a known pattern");
    if (!(behavior == "Isolated" && !invert) && !(behavior == "Removed" && invert))
      fail(fmt::format("a Split with behavior '{}'", behavior), "Isolated");
    return get_string(pattern, "Regex");
  }

  void read_pre_tokenizer(const dom::element& root) {
    const std::vector<dom::element> steps = pre_tokenizer_steps(root);
    parts_.add_prefix_space = get_bool(steps.back(), "add_prefix_space", true);
    const bool use_regex = get_bool(steps.back(), "use_regex", true);
    if (steps.size() > 2) fail(fmt::format("{} pre-tokenizer steps", steps.size()), "a split and ByteLevel");
    if (steps.size() == 1) {
      if (!use_regex) fail("ByteLevel without a split", "use_regex or a Split before it");
      parts_.pattern = Pattern::kGpt2;
      return;
    }
    const std::string_view type = get_string(steps[0], "type");
    if (type == "Digits") {
      if (!use_regex || !get_bool(steps[0], "individual_digits", false))
        fail("Digits in groups", "individual_digits before ByteLevel's pattern");
      parts_.pattern = Pattern::kDigits;
      return;
    }
    if (type != "Split") fail(fmt::format("pre-tokenizer step '{}'", type), "Split or Digits");
    const std::string_view regex = split_regex(steps[0]);
    if (use_regex && regex == "\\p{N}") {
      parts_.pattern = Pattern::kDigits;
      return;
    }
    const auto pattern = find_pattern_by_regex(regex);
    if (!pattern || (use_regex && *pattern != Pattern::kGpt2))
      fail(fmt::format("the split pattern {}", regex), "a pattern of tokens/splitter.h");
    parts_.pattern = *pattern;
  }

  void read_model(const dom::element& model) {
    read_byte_fallback(model);
    for (const char* field : {"continuing_subword_prefix", "end_of_word_suffix"})
      if (!get_string(model, field).empty()) fail(field, "none");
    parts_.ignore_merges = get_bool(model, "ignore_merges", false);
    dom::element vocab, merges;
    dom::object entries;
    if (!find(model, "vocab", vocab) || vocab.get(entries) != simdjson::SUCCESS)
      fail("no vocab", "an object of tokens");
    const size_t limit = id_limit(entries.size());
    for (const auto [text, value] : entries) {
      int64_t id = -1;
      if (value.get(id) != simdjson::SUCCESS || id < 0 || static_cast<size_t>(id) >= limit || text.empty())
        fail(fmt::format("token '{}' with id {}", text.substr(0, 60), id),
             fmt::format("an id from 0 to {}", limit - 1));
      add_token(text, static_cast<size_t>(id));
    }
    if (parts_.kind == TokenizerKind::kMetaspaceBpe) {
      const std::string_view unk = get_string(model, "unk_token");
      if (!unk.empty()) parts_.unk = token_of(unk);
      parts_.fuse_unk = get_bool(model, "fuse_unk", false);
    }
    dom::array list;
    if (!find(model, "merges", merges) || merges.get(list) != simdjson::SUCCESS) fail("no merges", "a list");
    for (const dom::element merge : list) read_merge(merge);
  }

  void read_byte_fallback(const dom::element& model) {
    const bool fallback = get_bool(model, "byte_fallback", false);
    if (parts_.kind == TokenizerKind::kByteLevel) {
      if (fallback) fail("byte_fallback", "none: a byte-level vocabulary has all bytes");
      return;
    }
    if (fallback != decodes_bytes_)
      fail(fallback ? "byte_fallback, and no such decoder" : "a ByteFallback decoder, and no byte_fallback",
           "both or none");
    if (fallback) parts_.byte_tokens.assign(256, -1);
  }

  void read_unigram(const dom::element& model) {
    read_byte_fallback(model);
    dom::element vocab, unk;
    dom::array entries;
    int64_t unk_id = -1;
    if (!find(model, "vocab", vocab) || vocab.get(entries) != simdjson::SUCCESS)
      fail("no vocab", "a list of tokens and scores");
    for (const dom::element entry : entries) {
      std::string_view text;
      dom::array pair;
      double score = 0;
      if (entry.get(pair) != simdjson::SUCCESS || pair.size() != 2 ||
          pair.at(0).get(text) != simdjson::SUCCESS || pair.at(1).get(score) != simdjson::SUCCESS)
        fail(fmt::format("entry {} of vocab", parts_.tokens.size()), "a token and its score");
      if (text.empty()) {
        parts_.tokens.emplace_back();
      } else {
        add_token(text, parts_.tokens.size());
      }
      parts_.scores.push_back(score);
    }
    if (!find(model, "unk_id", unk) || unk.get(unk_id) != simdjson::SUCCESS || unk_id < 0 || unk_id > kMaxId)
      fail("no unk_id", "the id of the unknown token");
    parts_.unk = static_cast<TokenId>(unk_id);
  }

  void add_token(std::string_view text, size_t id) {
    if (id >= parts_.tokens.size()) parts_.tokens.resize(id + 1);
    std::string& token = parts_.tokens[id];
    if (!token.empty()) fail(fmt::format("two tokens with id {}", id), "one");
    ids_.emplace(text, static_cast<TokenId>(id));
    if (parts_.kind == TokenizerKind::kByteLevel) {
      token = from_byte_level(text);
      return;
    }
    token = from_metaspace(text);
    // Others' text never has a blank when it comes to the vocabulary: such a token is only ever named.
    if (text.find(' ') != std::string_view::npos) unreachable_.push_back(static_cast<TokenId>(id));
    const auto byte = parse_byte_token(text);
    if (!byte || parts_.byte_tokens.empty() || text != byte_token(*byte)) return;
    parts_.byte_tokens[*byte] = static_cast<TokenId>(id);
    token.assign(1, static_cast<char>(*byte));
  }

  TokenId token_of(std::string_view text) const {
    const auto found = ids_.find(text);
    if (found == ids_.end())
      fail(fmt::format("a merge of '{}', which is no token", text.substr(0, 60)), "tokens of the vocabulary");
    return found->second;
  }

  void read_merge(const dom::element& merge) {
    std::string_view text, left, right;
    dom::array pair;
    if (merge.get(text) == simdjson::SUCCESS) {
      const size_t space = text.find(' ');
      if (space == std::string_view::npos)
        fail(fmt::format("the merge '{}'", text.substr(0, 60)), "two tokens and a blank");
      left = text.substr(0, space);
      right = text.substr(space + 1);
    } else if (merge.get(pair) != simdjson::SUCCESS || pair.size() != 2 ||
               pair.at(0).get(left) != simdjson::SUCCESS || pair.at(1).get(right) != simdjson::SUCCESS) {
      fail("a merge that is no pair", "\"a b\" or [\"a\", \"b\"]");
    }
    parts_.merges.emplace_back(token_of(left), token_of(right));
  }

  void read_added(const dom::element& root) {
    dom::element list;
    if (find(root, "added_tokens", list)) read_added_list(list);
    std::unordered_set<TokenId> added;
    for (const AddedToken& token : parts_.added) added.insert(token.id);
    for (const TokenId id : unreachable_)
      if (!added.contains(id))
        fail(fmt::format("token '{}'", parts_.tokens[static_cast<size_t>(id)].substr(0, 60)),
             "\u2581 for a blank");
  }
  void read_added_list(const dom::element& list) {
    dom::array items;
    if (list.get(items) != simdjson::SUCCESS) fail("added_tokens that are no list", "a list");
    for (const dom::element item : items) {
      AddedToken token;
      dom::element id_field;
      int64_t id = -1;
      token.text = get_string(item, "content");
      if (!find(item, "id", id_field) || id_field.get(id) != simdjson::SUCCESS || id < 0 || id > kMaxId ||
          token.text.empty())
        fail(fmt::format("added token '{}' with id {}", token.text.substr(0, 60), id), "a text and an id");
      token.id = static_cast<TokenId>(id);
      token.special = get_bool(item, "special", false);
      token.single_word = get_bool(item, "single_word", false);
      token.lstrip = get_bool(item, "lstrip", false);
      token.rstrip = get_bool(item, "rstrip", false);
      token.normalized = get_bool(item, "normalized", !token.special);
      parts_.added.push_back(std::move(token));
    }
  }

  std::string_view where_;
  TokenizerParts& parts_;
  bool replaces_blanks_ = false, replaces_metaspace_ = false, decodes_bytes_ = false;
  std::vector<TokenId> unreachable_;
  std::unordered_map<std::string_view, TokenId> ids_;  // by the spelling in the file
};

std::optional<TokenId> id_of(const TokenizerParts& parts, std::string_view text) {
  for (const AddedToken& added : parts.added)
    if (added.text == text) return added.id;
  return std::nullopt;
}

void guess_ends(TokenizerParts& parts) {
  for (const char* name : {"<|endoftext|>", "<|end_of_text|>", "</s>", "<|im_end|>", "<|eot_id|>"})
    if (!parts.eos) parts.eos = id_of(parts, name);
}

dom::element parse(dom::parser& parser, std::string_view json, std::string_view where) {
  dom::element root;
  if (const auto error = parser.parse(json.data(), json.size()).get(root))
    throw Error("tokenizer", "{}: not JSON ({}), expected a tokenizer file; fetch it again", where,
                simdjson::error_message(error));
  return root;
}

}  // namespace

TokenizerParts parse_tokenizer_json(std::string_view json, std::string_view where) {
  TokenizerParts parts;
  parts.name = where;
  dom::parser parser;
  Reader(where, parts).read(parse(parser, json, where));
  guess_ends(parts);
  return parts;
}

// Not simdjson: it refuses model_max_length as `transformers` writes it, 1e30 in digits.
void apply_tokenizer_config(TokenizerParts& parts, std::string_view json, std::string_view where) {
  const auto root = nlohmann::json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (!root.is_object())
    throw Error("tokenizer", "{}: no JSON object, expected a tokenizer file; fetch it again", where);
  const auto token = [&](const char* key) -> std::optional<TokenId> {
    auto field = root.find(key);
    if (field == root.end()) return std::nullopt;
    const nlohmann::json& text =
        field->is_object() && field->contains("content") ? (*field)["content"] : *field;
    if (!text.is_string()) return std::nullopt;
    return id_of(parts, text.get_ref<const std::string&>());
  };
  if (const auto id = token("bos_token")) parts.bos = id;
  if (const auto id = token("eos_token")) parts.eos = id;
  if (const auto id = token("pad_token")) parts.pad = id;
  // `transformers` asks tokenizer.json's post-processor first.
  const auto add = root.find("add_bos_token");
  if (!parts.has_post_processor && parts.bos && add != root.end() && *add == true)
    parts.prefix = {*parts.bos};
}

}  // namespace tumbler::tokens
