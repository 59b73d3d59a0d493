// Tokenizer: text ↔ token ids. Immutable once made, shared between threads, cheap to copy.
//
//   const Tokenizer tokenizer = Tokenizer::load("model");          // a directory, tokenizer.json or
//   *.tiktoken std::vector<TokenId> ids = tokenizer.encode("Hello");          // special tokens are plain
//   text std::string text = tokenizer.decode(ids);
//
// Three kinds. Byte-level byte pair encoding (Sennrich et al. 2016, arXiv:1508.07909; bytes as alphabet:
// Radford et al. 2019): 256 tokens are the single bytes, so that any input has an encoding and
// decode(encode(bytes)) == bytes. Vocabularies of some others (SmolLM2) lack a few bytes that text hardly
// has: such a byte is left out before merging, as Hugging Face's `tokenizers` does. SentencePiece's (Kudo and
// Richardson 2018, arXiv:1808.06226) byte pair encoding and unigram model (Kudo 2018, arXiv:1804.10959): the
// alphabet is characters, a blank is written "▁" in files (here a token's text has the blank itself), and a
// character without a token is its bytes, where there are tokens for them, or the unknown token.
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

enum class TokenizerKind { kByteLevel, kMetaspaceBpe, kUnigram };
std::string_view kind_name(TokenizerKind kind) noexcept;

// What SentencePiece-style tokenizers do with blanks.
struct Metaspace {
  // A blank goes before each stretch of text between added tokens: all, or only the one that begins the text;
  // always, or only where there is none yet.
  bool prepend = false, first_only = false, unless_blank = false;
  bool split = false;  // pieces end before every blank; otherwise a token may hold several words
  // What decoding takes away again: one blank at the start, or all blanks of the first token.
  enum class Strip : uint8_t { kNone, kOne, kFirstToken } strip = Strip::kNone;
};

// What a tokenizer is made of: the trainer and the file readers fill it in.
struct TokenizerParts {
  std::string name;  // for messages and shards: "qwen2-8192"
  TokenizerKind kind = TokenizerKind::kByteLevel;
  Pattern pattern = Pattern::kQwen2;
  std::vector<std::string> tokens;  // bytes of each id; empty where an id is unused or an added token
  std::vector<std::pair<TokenId, TokenId>> merges;  // in order of priority; empty with `ranks`
  bool ranks = false;  // tiktoken: two neighbours merge where their bytes are a token, smallest id first
  bool ignore_merges = false;  // a piece that is a token is that token, whatever the merges say
  bool nfc = false;            // text is brought to Unicode NFC before it is split
  bool add_prefix_space = false;
  std::vector<AddedToken> added;
  std::optional<TokenId> bos, eos, pad;
  std::vector<TokenId> prefix;      // what a prompt begins with, before its text
  bool has_post_processor = false;  // the file of the vocabulary says so, and not another one

  // kMetaspaceBpe and kUnigram only.
  Metaspace metaspace;
  std::vector<TokenId> byte_tokens;  // of each byte, where characters fall back to bytes; else empty
  std::optional<TokenId> unk;
  bool fuse_unk = false;  // neighbouring unknown characters are one token
  // Of each of `tokens`: for kUnigram log-probabilities; for kMetaspaceBpe empty, or, in place of merges, two
  // neighbours merge where they are a token together, those with the greatest score first.
  std::vector<double> scores;
};

class Tokenizer {
 public:
  // A Hugging Face directory (tokenizer.json, and tokenizer_config.json where there is one), a
  // tokenizer.json, or a `.tiktoken` file of ranks whose name says r50k, p50k, cl100k or o200k. Throws Error
  // where the file is damaged or uses a model or split pattern that is not known, naming it.
  static Tokenizer load(const std::filesystem::path& path);
  // Throws Error where the parts contradict one another (a byte without a token, a merge of unknown tokens
  // …).
  static Tokenizer from_parts(TokenizerParts parts);

  // The same without added tokens of ids from `vocab_size` on, for a model that has no rows for them (Gemma
  // 3's text models and the token of images).
  Tokenizer within(int64_t vocab_size) const;

  std::vector<TokenId> encode(std::string_view text, Special special = Special::kText) const;
  std::vector<TokenId> encode(std::string_view text, bool allow_special) const {
    return encode(text, allow_special ? Special::kAllow : Special::kText);
  }
  // Names of special tokens are these tokens where the text is our own, and text where it came from outside:
  // `input` are the ranges [begin, end) of bytes that did, sorted and disjoint.
  std::vector<TokenId> encode(std::string_view text, std::span<const std::pair<size_t, size_t>> input) const;
  // What a prompt begins with (begin-of-text, mostly; often nothing), as the model's files say.
  std::span<const TokenId> prefix() const noexcept;
  // Bytes of the tokens, one after the other, less what Metaspace::strip takes away at the start; it need not
  // be UTF-8 where ids begin or end inside a character. Throws Error on an id outside the vocabulary.
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
  // As Tokenizer::encode with ranges that came from outside.
  void encode(std::string_view text, std::span<const std::pair<size_t, size_t>> input,
              std::vector<TokenId>& out);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tumbler::tokens
