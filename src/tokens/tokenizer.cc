#include "tokens/tokenizer.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/error.h"
#include "io/file.h"
#include "tokens/metaspace.h"
#include "tokens/model.h"
#include "tokens/tiktoken.h"
#include "tokens/tokenizer_json.h"

namespace fs = std::filesystem;

namespace tumbler::tokens {
namespace {

// Vocabularies in use have up to 262,144 tokens; the bound keeps a damaged id from taking the memory.
constexpr int64_t kMaxVocab = int64_t{1} << 24;

// Bytes behind the last token that may be read, so that decode() can copy without looking at lengths.
constexpr size_t kArenaPadding = 16;

void check_parts(const TokenizerParts& parts) {
  if (static_cast<int64_t>(parts.tokens.size()) > kMaxVocab)
    throw Error("tokenizer", "{}: got {} tokens, expected at most {}; use a smaller vocabulary", parts.name,
                parts.tokens.size(), kMaxVocab);
  const auto limit = static_cast<TokenId>(id_limit(parts.tokens.size() + parts.added.size()));
  for (const AddedToken& added : parts.added)
    if (added.id < 0 || added.id >= limit)
      throw Error("tokenizer", "{}: added token '{}' has id {}, expected 0 to {}; the file is damaged",
                  parts.name, added.text, added.id, limit - 1);
  const auto size = static_cast<TokenId>(parts.tokens.size());
  for (const auto& [left, right] : parts.merges)
    if (left < 0 || left >= size || right < 0 || right >= size)
      throw Error("tokenizer", "{}: a merge of the ids {} and {}, expected ids below {}; the file is damaged",
                  parts.name, left, right, size);
}

void fill_bytes(Tokenizer::Model& model) {
  using Kind = Tokenizer::Model::Kind;
  const TokenizerParts& parts = model.parts;
  size_t size = parts.tokens.size();
  for (const AddedToken& added : parts.added) size = std::max(size, static_cast<size_t>(added.id) + 1);
  model.added_of.assign(size, -1);
  for (size_t i = 0; i < parts.added.size(); ++i)
    model.added_of[static_cast<size_t>(parts.added[i].id)] = static_cast<int32_t>(i);
  model.kinds.assign(size, Kind::kUnused);
  model.byte_lengths.assign(size, 0);
  model.offsets.assign(1, 0);
  for (size_t id = 0; id < size; ++id) {
    const int32_t place = model.added_of[id];
    const AddedToken* added = place < 0 ? nullptr : &parts.added[static_cast<size_t>(place)];
    const bool plain = id < parts.tokens.size() && !parts.tokens[id].empty();
    if (added != nullptr)
      model.kinds[id] = added->special ? Kind::kSpecial : Kind::kAdded;
    else if (plain)
      model.kinds[id] = Kind::kPlain;
    if (added != nullptr && parts.kind == TokenizerKind::kByteLevel)
      model.arena += added->text;
    else if (added != nullptr)
      model.arena += from_metaspace(added->text);
    else if (plain)
      model.arena += parts.tokens[id];
    if (model.arena.size() > 0xFFFFFFFFu)
      throw Error("tokenizer", "{}: tokens of more than 4 GiB; the file is damaged", parts.name);
    model.offsets.push_back(static_cast<uint32_t>(model.arena.size()));
    if (model.kinds[id] != Kind::kSpecial)
      model.byte_lengths[id] = static_cast<int32_t>(model.offsets[id + 1] - model.offsets[id]);
  }
  model.arena.append(kArenaPadding, '\0');
}

void fill_pieces(Tokenizer::Model& model) {
  const auto bytes_of = [&](TokenId id) { return model.bytes(id); };
  model.pieces.reset(model.kinds.size());
  for (size_t id = 0; id < model.kinds.size(); ++id)
    if (model.kinds[id] == Tokenizer::Model::kPlain)
      model.pieces.insert(model.bytes(static_cast<TokenId>(id)), static_cast<TokenId>(id), bytes_of);
  for (size_t byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    const auto* slot = model.pieces.find(piece_key({&c, 1}), {&c, 1}, bytes_of);
    model.byte_tokens[byte] = slot != nullptr ? slot->id : TokenId{-1};
    if (slot != nullptr) continue;
    const bool rare = (byte < 0x20 && byte != '\n') || byte >= 0x7F;
    if (!rare || model.parts.ranks)
      throw Error("tokenizer",
                  "{}: byte 0x{:02X} has no token, expected a byte-level vocabulary; use another tokenizer",
                  model.parts.name, byte);
  }
}

void fill_merges(Tokenizer::Model& model) {
  const auto bytes_of = [&](TokenId id) { return model.bytes(id); };
  const auto& merges = model.parts.merges;
  model.pairs.reset(merges.size());
  std::string joined;
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const auto [left, right] = merges[rank];
    joined.assign(model.parts.tokens[static_cast<size_t>(left)]);
    joined += model.parts.tokens[static_cast<size_t>(right)];
    const auto* slot = joined.empty() ? nullptr : model.pieces.find(piece_key(joined), joined, bytes_of);
    if (slot == nullptr)
      throw Error("tokenizer",
                  "{}: merge {} of the ids {} and {} gives no token of the vocabulary; the file is damaged",
                  model.parts.name, rank, left, right);
    model.pairs.insert(left, right, static_cast<uint32_t>(rank), slot->id);
  }
}

// tiktoken merges any two neighbours whose bytes together are a token: all ways to cut each token into two
// tokens.
void fill_merges_from_ranks(Tokenizer::Model& model) {
  std::vector<std::array<TokenId, 3>> found;
  for_each_cut(model, [&](TokenId left, TokenId right, TokenId id) { found.push_back({left, right, id}); });
  model.pairs.reset(found.size());
  for (const auto& [left, right, id] : found) model.pairs.insert(left, right, static_cast<uint32_t>(id), id);
}

// A token that its own merges do not lead to may not be taken for a whole piece.
void mark_unreachable(Tokenizer::Model& model) {
  std::vector<TokenId> ids;
  for (PieceTable::Slot& slot : model.pieces.slots()) {
    if (slot.id < 0) continue;
    ids.clear();
    append_merged(model, model.bytes(slot.id), ids);
    slot.encodes_to_itself = ids.size() == 1 && ids[0] == slot.id;
  }
}

bool is_blank(const Tokenizer::Model& model, const AddedToken& token) {
  const std::string_view text = model.bytes(token.id);  // with blanks for "▁"
  return std::all_of(text.begin(), text.end(), [](char c) { return c == ' ' || (c >= 9 && c <= 13); });
}

// Gemma's vocabulary has tags of web pages as tokens of plain text.
bool is_html_tag(std::string_view text) {
  static constexpr std::string_view kNames[] = {
      "a",      "b",      "bbox",  "blockquote", "body",  "caption", "code", "div",  "em",
      "footer", "h1",     "h2",    "h3",         "h4",    "h5",      "h6",   "html", "i",
      "img",    "iframe", "li",    "s",          "span",  "strong",  "sub",  "sup",  "table",
      "tbody",  "td",     "tfoot", "th",         "thead", "tr",      "u",    "ul"};
  if (!text.starts_with('<') || !text.ends_with('>') || text.size() < 3) return false;
  text = text.substr(1, text.size() - 2);
  if (text.starts_with('/')) text.remove_prefix(1);
  return std::find(std::begin(kNames), std::end(kNames), text) != std::end(kNames);
}

}  // namespace

std::string_view kind_name(TokenizerKind kind) noexcept {
  switch (kind) {
    case TokenizerKind::kByteLevel:
      return "byte-level BPE";
    case TokenizerKind::kMetaspaceBpe:
      return "SentencePiece BPE";
    case TokenizerKind::kUnigram:
      return "unigram";
  }
  return "";
}

Tokenizer Tokenizer::from_parts(TokenizerParts parts) {
  check_parts(parts);
  auto model = std::make_shared<Model>();
  model->parts = std::move(parts);
  model->split_batch = split_batch_function(model->parts.pattern);
  fill_bytes(*model);
  for (const TokenId id : model->parts.prefix)
    if (id < 0 || static_cast<size_t>(id) >= model->kinds.size() ||
        model->kinds[static_cast<size_t>(id)] == Model::kUnused)
      throw Error("tokenizer", "{}: a prompt begins with id {}, which is no token; the file is damaged",
                  model->parts.name, id);
  if (model->parts.kind == TokenizerKind::kByteLevel)
    fill_pieces(*model);
  else
    fill_metaspace(*model);
  if (model->parts.ranks)
    fill_merges_from_ranks(*model);
  else if (!model->parts.merges.empty())
    fill_merges(*model);
  if (!model->parts.ranks && !model->parts.ignore_merges && model->parts.kind != TokenizerKind::kUnigram)
    mark_unreachable(*model);
  for (const AddedToken& added : model->parts.added) {
    model->allowed.add(added);
    if (!added.special && (is_blank(*model, added) || is_html_tag(added.text))) model->always.add(added);
  }
  return Tokenizer(std::move(model));
}

Tokenizer Tokenizer::within(int64_t vocab_size) const {
  if (vocab_size >= this->vocab_size()) return *this;
  TokenizerParts parts = model_->parts;
  std::erase_if(parts.added, [&](const AddedToken& added) { return added.id >= vocab_size; });
  for (auto* id : {&parts.bos, &parts.eos, &parts.pad})
    if (*id && **id >= vocab_size) id->reset();
  std::erase_if(parts.prefix, [&](TokenId id) { return id >= vocab_size; });
  return from_parts(std::move(parts));
}

Tokenizer Tokenizer::load(const fs::path& path) {
  if (path.extension() == ".tiktoken") return load_tiktoken(path);
  const bool directory = fs::is_directory(path);
  const fs::path file = directory ? path / "tokenizer.json" : path;
  const fs::path config = file.parent_path() / "tokenizer_config.json";
  if (!fs::exists(file))
    throw Error(
        "tokenizer",
        "{}: no such file; give a directory that holds tokenizer.json, a tokenizer.json or a .tiktoken file",
        file.string());
  TokenizerParts parts = parse_tokenizer_json(io::read_file(file), file.string());
  if (fs::exists(config)) apply_tokenizer_config(parts, io::read_file(config), config.string());
  parts.name = fs::weakly_canonical(directory ? path : file.parent_path()).filename().string();
  return from_parts(std::move(parts));
}

namespace {

// What the prefix of Metaspace put before the text.
void strip_start(const Tokenizer::Model& model, std::span<const TokenId> ids, bool skip_special,
                 std::string& out) {
  if (model.parts.metaspace.strip == Metaspace::Strip::kNone || !out.starts_with(' ')) return;
  size_t blanks = 1;
  if (model.parts.metaspace.strip == Metaspace::Strip::kFirstToken) {
    const auto first = std::find_if(ids.begin(), ids.end(), [&](TokenId id) {
      return !model.bytes(id).empty() &&
             !(skip_special && model.kinds[static_cast<size_t>(id)] == Tokenizer::Model::kSpecial);
    });
    const std::string_view text = first == ids.end() ? std::string_view() : model.bytes(*first);
    blanks = std::min(text.find_first_not_of(' '), text.size());
  }
  out.erase(0, blanks);
}

}  // namespace

std::string Tokenizer::decode(std::span<const TokenId> ids, bool skip_special) const {
  const Model& model = *model_;
  const auto bytes_of = [&](TokenId id) {
    return skip_special && model.kinds[static_cast<size_t>(id)] == Model::kSpecial ? std::string_view()
                                                                                   : model.bytes(id);
  };
  size_t size = 0;
  for (const TokenId id : ids) {
    if (id < 0 || id >= vocab_size())
      throw Error("tokenizer", "decode: got id {}, expected 0 to {}; use the tokenizer that made these ids",
                  id, vocab_size() - 1);
    size += bytes_of(id).size();
  }
  // Tokens are short: 16 bytes copied at once, whatever the length, and written over by the next token.
  std::string out(size + kArenaPadding, '\0');
  char* to = out.data();
  for (const TokenId id : ids) {
    const std::string_view bytes = bytes_of(id);
    if (bytes.size() <= kArenaPadding && bytes.data() != nullptr)
      std::memcpy(to, bytes.data(), kArenaPadding);
    else if (!bytes.empty())
      std::memcpy(to, bytes.data(), bytes.size());
    to += bytes.size();
  }
  out.resize(size);
  strip_start(model, ids, skip_special, out);
  return out;
}

std::span<const TokenId> Tokenizer::prefix() const noexcept {
  return model_->parts.prefix;
}

int64_t Tokenizer::vocab_size() const noexcept {
  return static_cast<int64_t>(model_->kinds.size());
}

bool Tokenizer::has(TokenId id) const noexcept {
  return id >= 0 && id < vocab_size() && model_->kinds[static_cast<size_t>(id)] != Model::kUnused;
}

std::string_view Tokenizer::token_bytes(TokenId id) const noexcept {
  CHECK(id >= 0 && id < vocab_size(), "id {} of {}", id, vocab_size());
  return model_->bytes(id);
}

std::span<const int32_t> Tokenizer::byte_lengths() const noexcept {
  return model_->byte_lengths;
}

bool Tokenizer::is_special(TokenId id) const noexcept {
  return id >= 0 && id < vocab_size() && model_->kinds[static_cast<size_t>(id)] == Model::kSpecial;
}

bool Tokenizer::is_added(TokenId id) const noexcept {
  return id >= 0 && id < vocab_size() && model_->kinds[static_cast<size_t>(id)] >= Model::kAdded;
}

std::optional<TokenId> Tokenizer::find_added(std::string_view text) const noexcept {
  for (const AddedToken& added : model_->parts.added)
    if (added.text == text) return added.id;
  return std::nullopt;
}

std::optional<TokenId> Tokenizer::find_token(std::string_view bytes) const noexcept {
  if (bytes.empty()) return std::nullopt;
  const auto* slot =
      model_->pieces.find(piece_key(bytes), bytes, [&](TokenId id) { return model_->bytes(id); });
  return slot == nullptr ? std::nullopt : std::optional(slot->id);
}

std::optional<TokenId> Tokenizer::bos_id() const noexcept {
  return model_->parts.bos;
}
std::optional<TokenId> Tokenizer::eos_id() const noexcept {
  return model_->parts.eos;
}
std::optional<TokenId> Tokenizer::pad_id() const noexcept {
  return model_->parts.pad;
}

TokenId Tokenizer::get_eos() const {
  if (model_->parts.eos) return *model_->parts.eos;
  throw Error("tokenizer",
              "{}: no end-of-text token, expected eos_token in tokenizer_config.json; name one there",
              model_->parts.name);
}

const TokenizerParts& Tokenizer::parts() const noexcept {
  return model_->parts;
}

}  // namespace tumbler::tokens
