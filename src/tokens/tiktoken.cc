#include "tokens/tiktoken.h"

#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "io/file.h"
#include "tokens/model.h"

namespace tumbler::tokens {
namespace {

struct Encoding {
  std::string_view name;
  Pattern pattern;
  std::vector<std::pair<std::string_view, TokenId>> special;
};

const std::vector<Encoding>& encodings() {
  static const std::vector<Encoding> all = {
      {"r50k", Pattern::kGpt2, {{"<|endoftext|>", 50256}}},
      {"p50k", Pattern::kGpt2, {{"<|endoftext|>", 50256}}},
      {"cl100k",
       Pattern::kCl100k,
       {{"<|endoftext|>", 100257},
        {"<|fim_prefix|>", 100258},
        {"<|fim_middle|>", 100259},
        {"<|fim_suffix|>", 100260},
        {"<|endofprompt|>", 100276}}},
      {"o200k", Pattern::kO200k, {{"<|endoftext|>", 199999}, {"<|endofprompt|>", 200018}}},
  };
  return all;
}

int base64_value(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  return c == '+' ? 62 : c == '/' ? 63 : -1;
}

// Empty where the text is not base64.
std::string decode_base64(std::string_view text) {
  while (!text.empty() && text.back() == '=') text.remove_suffix(1);
  std::string out;
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    const int value = base64_value(c);
    if (value < 0) return {};
    bits = bits << 6 | static_cast<uint32_t>(value);
    count += 6;
    if (count >= 8) out += static_cast<char>(bits >> (count -= 8) & 0xFF);
  }
  return count < 6 ? out : std::string();
}

constexpr size_t kMaxRanks = size_t{1} << 24;

}  // namespace

TokenizerParts parse_tiktoken(std::string_view text, std::string_view name, std::string_view where) {
  if (name == "gpt2") name = "r50k";
  const Encoding* encoding = nullptr;
  for (const Encoding& e : encodings())
    if (name.starts_with(e.name)) encoding = &e;
  if (encoding == nullptr)
    throw Error("tokenizer",
                "{}: got the encoding '{}', expected r50k_base, p50k_base, cl100k_base or o200k_base; name "
                "the file so",
                where, name);
  TokenizerParts parts;
  parts.name = std::string(encoding->name) + "_base";
  parts.pattern = encoding->pattern;
  parts.ranks = true;
  const auto limit = static_cast<TokenId>(
      std::min(id_limit(static_cast<size_t>(std::count(text.begin(), text.end(), '\n')) + 1), kMaxRanks));
  for (int line_number = 1; !text.empty(); ++line_number) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty()) continue;
    const size_t space = line.find(' ');
    TokenId rank = -1;
    std::string token;
    if (space != std::string_view::npos) {
      const auto [stop, error] = std::from_chars(line.data() + space + 1, line.data() + line.size(), rank);
      if (error != std::errc() || stop != line.data() + line.size()) rank = -1;
      token = decode_base64(line.substr(0, space));
    }
    if (token.empty() || rank < 0 || rank >= limit)
      throw Error("tokenizer",
                  "{}:{}: got '{}', expected base64, a blank and a rank below {}; the file is damaged, fetch "
                  "it again",
                  where, line_number, line.substr(0, 60), limit);
    if (static_cast<size_t>(rank) >= parts.tokens.size()) parts.tokens.resize(static_cast<size_t>(rank) + 1);
    if (!parts.tokens[static_cast<size_t>(rank)].empty())
      throw Error("tokenizer", "{}:{}: rank {} is there twice; the file is damaged, fetch it again", where,
                  line_number, rank);
    parts.tokens[static_cast<size_t>(rank)] = std::move(token);
  }
  for (const auto& [special, id] : encoding->special)
    parts.added.push_back({.text = std::string(special), .id = id});
  parts.bos = parts.eos = parts.pad = encoding->special[0].second;
  return parts;
}

Tokenizer load_tiktoken(const std::filesystem::path& path) {
  return Tokenizer::from_parts(parse_tiktoken(io::read_file(path), path.stem().string(), path.string()));
}

namespace {

std::vector<std::pair<TokenId, TokenId>> merges_of_scores(const Tokenizer::Model& model) {
  struct Cut {
    double score;
    size_t left_bytes;
    std::pair<TokenId, TokenId> merge;
  };
  std::vector<Cut> cuts;
  for_each_cut(model, [&](TokenId left, TokenId right, TokenId id) {
    cuts.push_back({model.parts.scores[static_cast<size_t>(id)], model.bytes(left).size(), {left, right}});
  });
  std::stable_sort(cuts.begin(), cuts.end(), [](const Cut& a, const Cut& b) {
    return a.score != b.score ? a.score > b.score : a.left_bytes > b.left_bytes;
  });
  std::vector<std::pair<TokenId, TokenId>> merges;
  for (const Cut& cut : cuts) merges.push_back(cut.merge);
  return merges;
}

}  // namespace

std::vector<std::pair<TokenId, TokenId>> recover_merges(const Tokenizer& tokenizer) {
  const Tokenizer::Model& model = tokenizer.model();
  if (model.parts.kind == TokenizerKind::kMetaspaceBpe && !model.parts.scores.empty())
    return merges_of_scores(model);
  if (!model.parts.ranks) return model.parts.merges;
  std::vector<std::pair<TokenId, TokenId>> merges;
  std::vector<TokenId> ids;
  for (TokenId token = 0; token < static_cast<TokenId>(model.parts.tokens.size()); ++token) {
    const std::string_view bytes = model.parts.tokens[static_cast<size_t>(token)];
    if (bytes.size() < 2 || tokenizer.is_added(token)) continue;
    ids.clear();
    for (const char c : bytes) ids.push_back(model.byte_tokens[static_cast<unsigned char>(c)]);
    while (ids.size() > 2) {
      uint64_t least = static_cast<uint64_t>(token) << 32;  // smaller ranks only
      size_t best = ids.size();
      for (size_t i = 0; i + 1 < ids.size(); ++i)
        if (const uint64_t merge = model.pairs.find(ids[i], ids[i + 1]); merge < least)
          least = merge, best = i;
      if (best == ids.size()) break;
      ids[best] = static_cast<TokenId>(least & 0xFFFFFFFF);
      ids.erase(ids.begin() + static_cast<ptrdiff_t>(best) + 1);
    }
    if (ids.size() != 2)
      throw Error("tokenizer",
                  "{}: token {} is no merge of two tokens of smaller rank; such ranks cannot be written as "
                  "tokenizer.json",
                  model.parts.name, token);
    merges.emplace_back(ids[0], ids[1]);
  }
  return merges;
}

}  // namespace tumbler::tokens
