#include <unordered_map>

#include <simdjson.h>

#include "base/error.h"
#include "tokens/byte_level.h"
#include "tokens/tokenizer_json.h"

namespace tumbler::tokens {
namespace {

namespace dom = simdjson::dom;

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
    if (!find(root, "model", model)) fail("no field 'model'", "a byte-level BPE");
    read_normalizer(root);
    read_pre_tokenizer(root);
    read_model(model);
    read_added(root);
  }

 private:
  [[noreturn]] void fail(std::string_view got, std::string_view expected) const {
    throw Error("tokenizer", "{}: {}, expected {}; use another tokenizer", where_, got, expected);
  }

  void read_normalizer(const dom::element& root) {
    dom::element normalizer;
    if (find(root, "normalizer", normalizer)) read_one_normalizer(normalizer, 0);
  }

  void read_one_normalizer(const dom::element& normalizer, int depth) {
    const std::string_view type = get_string(normalizer, "type");
    dom::element list;
    dom::array items;
    if (type == "NFC") {
      parts_.nfc = true;
    } else if (type == "Sequence" && depth < 4 && find(normalizer, "normalizers", list) &&
               list.get(items) == simdjson::SUCCESS) {
      for (const dom::element item : items) read_one_normalizer(item, depth + 1);
    } else {
      fail(fmt::format("normalizer '{}'", type), "none or NFC");
    }
  }

  void flatten(const dom::element& step, std::vector<dom::element>& out, int depth) const {
    dom::element list;
    dom::array items;
    if (get_string(step, "type") != "Sequence" || depth > 4) {
      out.push_back(step);
    } else if (find(step, "pretokenizers", list) && list.get(items) == simdjson::SUCCESS) {
      for (const dom::element item : items) flatten(item, out, depth + 1);
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
    dom::element pre;
    if (!find(root, "pre_tokenizer", pre)) fail("no pre_tokenizer", "ByteLevel");
    std::vector<dom::element> steps;
    flatten(pre, steps, 0);
    if (steps.empty() || get_string(steps.back(), "type") != "ByteLevel")
      fail(fmt::format("pre_tokenizer '{}'", get_string(steps.empty() ? pre : steps.back(), "type")),
           "one that ends in ByteLevel");
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
    const std::string_view type = get_string(model, "type");
    if (!type.empty() && type != "BPE") fail(fmt::format("model '{}'", type), "BPE");
    if (get_bool(model, "byte_fallback", false)) fail("byte_fallback", "a byte-level vocabulary");
    for (const char* field : {"continuing_subword_prefix", "end_of_word_suffix"})
      if (!get_string(model, field).empty()) fail(field, "none");
    parts_.ignore_merges = get_bool(model, "ignore_merges", false);
    dom::element vocab, merges;
    dom::object entries;
    if (!find(model, "vocab", vocab) || vocab.get(entries) != simdjson::SUCCESS)
      fail("no vocab", "an object of tokens");
    read_vocab(entries);
    dom::array list;
    if (!find(model, "merges", merges) || merges.get(list) != simdjson::SUCCESS) fail("no merges", "a list");
    for (const dom::element merge : list) read_merge(merge);
  }

  void read_vocab(const dom::object& entries) {
    const size_t limit = entries.size() + 100'000;  // vocabularies are dense but for a few reserved ids
    for (const auto [text, value] : entries) {
      int64_t id = -1;
      if (value.get(id) != simdjson::SUCCESS || id < 0 || static_cast<size_t>(id) >= limit || text.empty())
        fail(fmt::format("token '{}' with id {}", text.substr(0, 60), id),
             fmt::format("an id from 0 to {}", limit - 1));
      if (static_cast<size_t>(id) >= parts_.tokens.size()) parts_.tokens.resize(static_cast<size_t>(id) + 1);
      std::string& token = parts_.tokens[static_cast<size_t>(id)];
      if (!token.empty()) fail(fmt::format("two tokens with id {}", id), "one");
      token = from_byte_level(text);
      ids_.emplace(text, static_cast<TokenId>(id));
    }
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
    dom::array items;
    if (!find(root, "added_tokens", list)) return;
    if (list.get(items) != simdjson::SUCCESS) fail("added_tokens that are no list", "a list");
    for (const dom::element item : items) {
      AddedToken token;
      dom::element id_field;
      int64_t id = -1;
      token.text = get_string(item, "content");
      if (!find(item, "id", id_field) || id_field.get(id) != simdjson::SUCCESS || id < 0 || id > 0x7FFFFFFF ||
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

void apply_tokenizer_config(TokenizerParts& parts, std::string_view json, std::string_view where) {
  dom::parser parser;
  const dom::element root = parse(parser, json, where);
  const auto token = [&](std::string_view key) -> std::optional<TokenId> {
    dom::element field;
    std::string_view text;
    if (!find(root, key, field)) return std::nullopt;
    if (field.get(text) != simdjson::SUCCESS) text = get_string(field, "content");
    return id_of(parts, text);
  };
  if (const auto id = token("bos_token")) parts.bos = id;
  if (const auto id = token("eos_token")) parts.eos = id;
  if (const auto id = token("pad_token")) parts.pad = id;
}

}  // namespace tumbler::tokens
