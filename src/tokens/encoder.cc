#include <iterator>

#include "tokens/model.h"

namespace tumbler::tokens {
namespace {

// How recent pieces were encoded, one per slot: 32 bytes each, so that 8192 of them stay in a second-level
// cache of 512 KiB next to the text. Words follow Zipf's law: the cache holds those that make up most of a
// text.
struct CacheSlot {
  static constexpr int kMaxTokens = 3;
  PieceKey key{0, 0};
  int32_t tokens[kMaxTokens + 1] = {};  // the last one is their number
};
constexpr int kCacheBits = 13;
constexpr size_t kBatch = 128;               // pieces between two writes to the output
constexpr size_t kCacheFromBytes = 1 << 14;  // a shorter text is not worth clearing a cache for

}  // namespace

struct Encoder::State {
  Tokenizer tokenizer;
  const Tokenizer::Model& model;
  std::vector<CacheSlot> cache;  // empty: not used
  std::vector<TokenId> scratch;

  State(Tokenizer t, bool cached)
      : tokenizer(std::move(t)), model(tokenizer.model()), cache(cached ? size_t{1} << kCacheBits : 0) {}

  // Tokens of a piece that is not in the cache.
  void encode_piece(std::string_view piece, const PieceKey& key, std::vector<TokenId>& out) const {
    if (model.parts.kind == TokenizerKind::kUnigram) return append_unigram(model, piece, out);
    const auto* known = model.pieces.find(key, piece, [&](TokenId id) { return model.bytes(id); });
    if (known != nullptr && known->encodes_to_itself)
      out.push_back(known->id);
    else
      append_merged(model, piece, out);
  }

  template <bool cached>
  void encode_text(std::string_view text, std::vector<TokenId>& out) {
    size_t ends[kBatch], begin = 0;
    TokenId buffer[kBatch * CacheSlot::kMaxTokens + 1];  // one more: a slot is copied with its count
    const bool blanks = model.parts.kind != TokenizerKind::kByteLevel;
    while (const size_t pieces = blanks ? split_blanks(model, text, begin, ends, kBatch)
                                        : model.split_batch(text.data(), text.size(), begin, ends, kBatch)) {
      size_t n = 0;
      for (size_t i = 0; i < pieces; begin = ends[i++]) {
        const PieceKey key = piece_key(text.data(), text.size(), begin, ends[i]);
        CacheSlot* slot = nullptr;
        if constexpr (cached) {
          slot = &cache[key.hash() >> (64 - kCacheBits)];
          if (slot->key == key && key.is_short()) {
            std::memcpy(buffer + n, slot->tokens, sizeof(slot->tokens));
            n += static_cast<size_t>(slot->tokens[CacheSlot::kMaxTokens]);
            continue;
          }
        }
        scratch.clear();
        encode_piece(text.substr(begin, ends[i] - begin), key, scratch);
        if (scratch.size() > CacheSlot::kMaxTokens) {
          out.insert(out.end(), buffer, buffer + n);
          n = 0;
          out.insert(out.end(), scratch.begin(), scratch.end());
          continue;
        }
        for (const TokenId id : scratch) buffer[n++] = id;
        if (!cached || !key.is_short()) continue;
        slot->key = key;
        slot->tokens[CacheSlot::kMaxTokens] = static_cast<int32_t>(scratch.size());
        std::copy(scratch.begin(), scratch.end(), slot->tokens);
      }
      out.insert(out.end(), buffer, buffer + n);
    }
  }

  // Text that holds no added token; `first`: nothing comes before it.
  void encode_segment(std::string_view text, bool first, std::vector<TokenId>& out) {
    if (text.empty()) return;
    std::string changed;
    if (model.parts.nfc) text = changed = normalize_nfc(text);
    if (model.parts.kind != TokenizerKind::kByteLevel) text = to_blanks(model, text, first, changed);
    if (model.parts.add_prefix_space && text[0] != ' ') text = changed = " " + std::string(text);
    if (cache.empty())
      encode_text<false>(text, out);
    else
      encode_text<true>(text, out);
  }

  // `find(at)` gives the next added token.
  template <class Find>
  void encode(std::string_view text, const Find& find, std::vector<TokenId>& out) {
    size_t at = 0;
    while (const std::optional<AddedTokenMatcher::Match> match = find(at)) {
      encode_segment(text.substr(at, match->begin - at), at == 0, out);
      out.push_back(match->id);
      at = match->end;
    }
    encode_segment(text.substr(at), at == 0, out);
  }
};

Encoder::Encoder(Tokenizer tokenizer, bool remember)
    : state_(std::make_unique<State>(std::move(tokenizer), remember)) {}
Encoder::~Encoder() = default;
Encoder::Encoder(Encoder&&) noexcept = default;
Encoder& Encoder::operator=(Encoder&&) noexcept = default;

void Encoder::encode(std::string_view text, std::vector<TokenId>& out, Special special) {
  const Tokenizer::Model& model = state_->model;
  const AddedTokenMatcher& matcher = special == Special::kAllow ? model.allowed : model.always;
  state_->encode(
      text, [&](size_t at) { return matcher.find(text, at); }, out);
}

void Encoder::encode(std::string_view text, std::span<const std::pair<size_t, size_t>> input,
                     std::vector<TokenId>& out) {
  MixedMatcher matcher(state_->model.allowed, state_->model.always, text, input);
  state_->encode(
      text, [&](size_t at) { return matcher.find(at); }, out);
}

std::vector<TokenId> Tokenizer::encode(std::string_view text, Special special) const {
  std::vector<TokenId> out;
  Encoder(*this, text.size() >= kCacheFromBytes).encode(text, out, special);
  return out;
}

std::vector<TokenId> Tokenizer::encode(std::string_view text,
                                       std::span<const std::pair<size_t, size_t>> input) const {
  std::vector<TokenId> out;
  Encoder(*this, text.size() >= kCacheFromBytes).encode(text, input, out);
  return out;
}

}  // namespace tumbler::tokens
