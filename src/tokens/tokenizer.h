// Tokenizer: byte-level byte pair encoding. Immutable once made, shared between threads, cheap to copy.
//
//   const Tokenizer tokenizer = Tokenizer::load("model");          // a directory, tokenizer.json or
//   *.tiktoken std::vector<TokenId> ids = tokenizer.encode("Hello");          // special tokens are plain
//   text std::string text = tokenizer.decode(ids);                      // decode(encode(bytes)) == bytes,
//   for any bytes
//
// Sennrich et al. 2016 (arXiv:1508.07909); bytes as alphabet: Radford et al. 2019.
// A token's bytes are a part of the text; 256 tokens are the single bytes, so that any input has an encoding.
// Vocabularies of some others (SmolLM2) lack a few bytes that text hardly has: such a byte is left out before
// merging, as Hugging Face's `tokenizers` does.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tokens/splitter.h"

namespace tumbler::tokens {

using TokenId = int32_t;

// A token that is not made by merges: "<|endoftext|>".
struct AddedToken {
  std::string text;
  TokenId id = 0;
  bool special = true;                  // left out by decode(…, skip_special)
  bool single_word = false;             // matches only where no letter, number or mark touches it
  bool lstrip = false, rstrip = false;  // takes the white space before/after it along
  bool normalized = false;              // matched after normalisation
};

// Are the names of added tokens in the text taken as these tokens? Text from outside must never be able to do
// that. With kText only added tokens that are not special and consist of white space match (GPT-NeoX has
// such).
enum class Special { kText, kAllow };

// What a tokenizer is made of: the trainer and the file readers fill it in.
struct TokenizerParts {
  std::string name;  // for messages and shards: "qwen2-8192"
  Pattern pattern = Pattern::kQwen2;
  std::vector<std::string> tokens;  // bytes of each id; empty where an id is unused or an added token
  std::vector<std::pair<TokenId, TokenId>> merges;  // in order of priority; empty with `ranks`
  bool ranks = false;  // tiktoken: two neighbours merge where their bytes are a token, smallest id first
  bool ignore_merges = false;  // a piece that is a token is that token, whatever the merges say
  bool nfc = false;            // text is brought to Unicode NFC before it is split
  bool add_prefix_space = false;
  std::vector<AddedToken> added;
  std::optional<TokenId> bos, eos, pad;
};

class Tokenizer {
 public:
  // A Hugging Face directory (tokenizer.json, and tokenizer_config.json where there is one), a tokenizer.json
  // of a byte-level BPE, or a `.tiktoken` file of ranks whose name says r50k, p50k, cl100k or o200k. Throws
  // Error where the file is damaged or uses a model or split pattern that is not known, naming it.
  static Tokenizer load(const std::filesystem::path& path);
  // Throws Error where the parts contradict one another (a byte without a token, a merge of unknown tokens
  // …).
  static Tokenizer from_parts(TokenizerParts parts);

  std::vector<TokenId> encode(std::string_view text, Special special = Special::kText) const;
  std::vector<TokenId> encode(std::string_view text, bool allow_special) const {
    return encode(text, allow_special ? Special::kAllow : Special::kText);
  }
  // Bytes of the tokens, one after the other; it need not be UTF-8 where ids begin or end inside a character.
  // Throws Error on an id outside the vocabulary.
  std::string decode(std::span<const TokenId> ids, bool skip_special = false) const;

  // Size of the embedding table that these ids need: largest id + 1.
  int64_t vocab_size() const noexcept;
  bool has(TokenId id) const noexcept;  // an id below vocab_size() may be unused
  // Bytes of a token (of an added token: its text). CHECKs 0 <= id < vocab_size().
  std::string_view token_bytes(TokenId id) const noexcept;
  // Length in bytes of each token's text, (vocab_size); 0 for special tokens, which stand for no text: what
  // bits per byte divides by.
  std::span<const int32_t> byte_lengths() const noexcept;
  bool is_special(TokenId id) const noexcept;
  bool is_added(TokenId id) const noexcept;
  // The id of an added token by its text.
  std::optional<TokenId> find_added(std::string_view text) const noexcept;
  // The id of the token with exactly these bytes; added tokens do not count.
  std::optional<TokenId> find_token(std::string_view bytes) const noexcept;

  // End of a document, begin of one, padding, as the files name them. get_eos() throws Error where there is
  // none.
  std::optional<TokenId> bos_id() const noexcept;
  std::optional<TokenId> eos_id() const noexcept;
  std::optional<TokenId> pad_id() const noexcept;
  TokenId get_eos() const;

  const TokenizerParts& parts() const noexcept;

  struct Model;
  const Model& model() const noexcept { return *model_; }

 private:
  explicit Tokenizer(std::shared_ptr<const Model> model) : model_(std::move(model)) {}
  std::shared_ptr<const Model> model_;
};

// Encodes much text with one thread: remembers how recent pieces were encoded. One per thread; the ids are
// the same as Tokenizer::encode gives.
class Encoder {
 public:
  // Without `remember` it works in no memory of its own: for a short text.
  explicit Encoder(Tokenizer tokenizer, bool remember = true);
  ~Encoder();
  Encoder(Encoder&&) noexcept;
  Encoder& operator=(Encoder&&) noexcept;

  // Appends the ids of `text` to `out`.
  void encode(std::string_view text, std::vector<TokenId>& out, Special special = Special::kText);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tumbler::tokens
