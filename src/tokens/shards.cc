#include "tokens/shards.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>

#include "base/check.h"
#include "base/error.h"

namespace fs = std::filesystem;

namespace tumbler::tokens {
namespace {

static_assert(std::endian::native == std::endian::little, "shards are little endian");

fs::path with(const fs::path& path, const char* suffix) {
  return path.string() + suffix;
}

// "12.3 M", for the third line of the metadata.
std::string humanize(int64_t n) {
  const char* units[] = {"", " K", " M", " G", " T"};
  double value = static_cast<double>(n);
  size_t unit = 0;
  while (value >= 1000 && unit + 1 < std::size(units)) value /= 1000, ++unit;
  return unit == 0 ? fmt::format("{}", n) : fmt::format("{:.2f}{}", value, units[unit]);
}

struct Metadata {
  std::string tokenizer;
  int token_bytes = 0;
  int64_t tokens = -1;
};

Metadata read_metadata(const fs::path& path) {
  const std::string text = io::read_file(path);
  Metadata metadata;
  const size_t line = text.find('\n'), bar = text.rfind('|', line);
  const auto bad = [&] {
    throw Error(
        "shard",
        "{}: got '{}', expected 'tokenizer|2' or '|4' and the number of tokens; build the shard again",
        path.string(), text.substr(0, 80));
  };
  if (line == std::string::npos || bar == std::string::npos) bad();
  metadata.tokenizer = text.substr(0, bar);
  const std::string_view width = std::string_view(text).substr(bar + 1, line - bar - 1);
  if (width != "2" && width != "4") bad();
  metadata.token_bytes = width[0] - '0';
  const char* end = text.data() + std::min(text.find('\n', line + 1), text.size());
  if (const auto [stop, error] = std::from_chars(text.data() + line + 1, end, metadata.tokens);
      error != std::errc() || stop != end || metadata.tokens < 0)
    bad();
  return metadata;
}

}  // namespace

int token_size_bytes(int64_t vocab_size) noexcept {
  return vocab_size <= kMaxVocabUint16 ? 2 : 4;
}

TokenShardReader::TokenShardReader(const fs::path& path)
    : tokens_file_(path), index_file_(with(path, ".index")) {
  const Metadata metadata = read_metadata(with(path, ".metadata"));
  tokenizer_name_ = metadata.tokenizer;
  token_bytes_ = metadata.token_bytes;
  data_ = tokens_file_.bytes().data();
  const size_t size_bytes = tokens_file_.bytes().size(), index_bytes = index_file_.bytes().size();
  if (size_bytes % static_cast<size_t>(token_bytes_) != 0 ||
      static_cast<int64_t>(size_bytes) / token_bytes_ != metadata.tokens)
    throw Error("shard", "{}: got {} bytes, expected {} tokens of {} bytes each; build the shard again",
                path.string(), size_bytes, metadata.tokens, token_bytes_);
  size_ = metadata.tokens;
  if (index_bytes % sizeof(uint64_t) != 0)
    throw Error("shard", "{}.index: got {} bytes, expected a multiple of 8; build the shard again",
                path.string(), index_bytes);
  ends_ = {reinterpret_cast<const uint64_t*>(index_file_.bytes().data()), index_bytes / sizeof(uint64_t)};
  const uint64_t last = ends_.empty() ? 0 : ends_.back();
  if (!std::is_sorted(ends_.begin(), ends_.end()) || last != static_cast<uint64_t>(size_))
    throw Error("shard",
                "{}.index: got a last end of {} or ends that go down, expected rising ends up to {}; build "
                "the shard again",
                path.string(), last, size_);
}

void TokenShardReader::read(int64_t begin, std::span<TokenId> out) const {
  const auto n = static_cast<int64_t>(out.size());
  CHECK(begin >= 0 && begin <= size_ && n <= size_ - begin, "tokens [{}, +{}) of {}", begin, n, size_);
  for (int64_t i = 0; i < n; ++i) out[static_cast<size_t>(i)] = (*this)[begin + i];
}

std::pair<int64_t, int64_t> TokenShardReader::document(int64_t d) const {
  CHECK(d >= 0 && d < documents(), "document {} of {}", d, documents());
  const auto i = static_cast<size_t>(d);
  return {d == 0 ? 0 : static_cast<int64_t>(ends_[i - 1]), static_cast<int64_t>(ends_[i])};
}

TokenId TokenShardReader::max_token() const noexcept {
  uint32_t most = 0;
  if (size_ == 0) return -1;
  for (int64_t i = 0; i < size_; ++i) most = std::max(most, static_cast<uint32_t>((*this)[i]));
  return static_cast<TokenId>(std::min<uint32_t>(most, 0x7FFFFFFF));
}

struct TokenShardWriter::State {
  fs::path path;
  std::string name;
  int64_t vocab_size;
  int token_bytes;
  io::AtomicFile tokens_file, index_file;
  int64_t tokens = 0, documents = 0;
  std::vector<uint16_t> narrow;
};

TokenShardWriter::TokenShardWriter(const fs::path& path, std::string_view tokenizer_name, int64_t vocab_size)
    : state_(new State{path,
                       std::string(tokenizer_name),
                       vocab_size,
                       token_size_bytes(vocab_size),
                       io::AtomicFile(path),
                       io::AtomicFile(with(path, ".index")),
                       0,
                       0,
                       {}}) {
  std::replace(state_->name.begin(), state_->name.end(), '\n', ' ');
}
TokenShardWriter::~TokenShardWriter() = default;
TokenShardWriter::TokenShardWriter(TokenShardWriter&&) noexcept = default;
TokenShardWriter& TokenShardWriter::operator=(TokenShardWriter&&) noexcept = default;

void TokenShardWriter::add_document(std::span<const TokenId> ids) {
  for (const TokenId id : ids)
    CHECK(id >= 0 && id < state_->vocab_size, "token {} of {}", id, state_->vocab_size);
  if (state_->token_bytes == 2) {
    state_->narrow.assign(ids.begin(), ids.end());
    state_->tokens_file.write(state_->narrow.data(), state_->narrow.size() * 2);
  } else {
    state_->tokens_file.write(ids.data(), ids.size() * 4);
  }
  state_->tokens += static_cast<int64_t>(ids.size());
  ++state_->documents;
  const auto end = static_cast<uint64_t>(state_->tokens);
  state_->index_file.write(&end, sizeof(end));
}

int64_t TokenShardWriter::tokens() const noexcept {
  return state_->tokens;
}
int64_t TokenShardWriter::documents() const noexcept {
  return state_->documents;
}

void TokenShardWriter::commit() {
  io::write_file(with(state_->path, ".metadata"),
                 fmt::format("{}|{}\n{}\n{}", state_->name, state_->token_bytes, state_->tokens,
                             humanize(state_->tokens)));
  state_->index_file.commit();
  state_->tokens_file.commit();
}

}  // namespace tumbler::tokens
