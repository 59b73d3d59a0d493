#include "crawl/url_filter.h"

#include <algorithm>
#include <array>
#include <deque>
#include <string>
#include <vector>

#include <fmt/ranges.h>
#include <xxhash.h>

#include "base/error.h"
#include "crawl/ascii.h"
#include "crawl/url.h"
#include "crawl/url_lists.h"
#include "io/lines.h"

namespace fs = std::filesystem;

namespace tumbler::crawl {
namespace {

constexpr size_t kSoftWordThreshold = 2;
constexpr size_t kMaxListBytes = size_t{4} << 30;  // offsets are 32 bits

// Millions of strings in one buffer, found by an open-addressing table of their offsets: UT1's 4.6 M domains
// take some 150 MB.
class StringSet {
 public:
  void add(std::string_view text) {
    if (text.empty() || contains(text)) return;
    if (text_.size() + text.size() + 1 >= kMaxListBytes)
      throw Error("crawl.url_filter", "lists of over {} bytes, expected fewer; split them", kMaxListBytes);
    if ((size_ + 1) * 2 > table_.size()) grow();
    insert(static_cast<uint32_t>(text_.size() + 1), text);
    text_.append(text).push_back('\n');
    ++size_;
  }
  bool contains(std::string_view text) const {
    if (table_.empty()) return false;
    const size_t mask = table_.size() - 1;
    for (size_t i = XXH3_64bits(text.data(), text.size()) & mask; table_[i] != 0; i = (i + 1) & mask)
      if (at(table_[i]) == text) return true;
    return false;
  }
  size_t size() const { return size_; }

 private:
  std::string_view at(uint32_t entry) const {
    const std::string_view rest = std::string_view(text_).substr(entry - 1);
    return rest.substr(0, rest.find('\n'));
  }
  void insert(uint32_t entry, std::string_view text) {
    const size_t mask = table_.size() - 1;
    size_t i = XXH3_64bits(text.data(), text.size()) & mask;
    while (table_[i] != 0) i = (i + 1) & mask;
    table_[i] = entry;
  }
  void grow() {
    const std::vector<uint32_t> old = std::move(table_);
    table_.assign(std::max<size_t>(1024, old.size() * 2), 0);
    for (const uint32_t entry : old)
      if (entry != 0) insert(entry, at(entry));
  }

  std::string text_;
  std::vector<uint32_t> table_;  // offset in text_ plus 1; 0: free
  size_t size_ = 0;
};

// The categories of UT1 that are read where a directory has them: those that RefinedWeb bans (Penedo et al.
// 2023, arXiv:2306.01116) and the ones for crime. UT1 has categories of good pages too (press,
// sexual_education), which must not drop anything.
constexpr std::string_view kUt1Categories[] = {
    "adult",    "agressif", "arjel",       "chat",     "cryptojacking", "dating",      "ddos", "filehosting",
    "gambling", "malware",  "mixed_adult", "phishing", "porn",          "stalkerware", "warez"};

constexpr int kSymbols = 36;  // a-z, 0-9

int symbol(char c) {
  if (is_digit(c)) return 26 + (c - '0');
  const char lower = ascii_lower(c);
  return lower >= 'a' && lower <= 'z' ? lower - 'a' : -1;
}

// Finds any of some words in one pass (Aho & Corasick 1975), with the transitions filled in: one table
// look-up a character.
class WordFinder {
 public:
  void add(std::string_view word) {
    int node = 0;
    for (const char c : word) {
      int32_t& next = nodes_[static_cast<size_t>(node)].next[static_cast<size_t>(symbol(c))];
      if (next == 0) {
        next = static_cast<int32_t>(nodes_.size());
        node = next;
        nodes_.emplace_back();
      } else {
        node = next;
      }
    }
    if (node != 0 && nodes_[static_cast<size_t>(node)].word < 0) {
      nodes_[static_cast<size_t>(node)].word = static_cast<int32_t>(words_.size());
      words_.emplace_back(word);
    }
  }
  void finish() {
    std::vector<int32_t> fail(nodes_.size(), 0);
    std::deque<int32_t> queue;
    for (const int32_t child : nodes_[0].next)
      if (child != 0) queue.push_back(child);
    for (; !queue.empty(); queue.pop_front()) {
      Node& node = nodes_[static_cast<size_t>(queue.front())];
      const Node& back = nodes_[static_cast<size_t>(fail[static_cast<size_t>(queue.front())])];
      if (node.word < 0) node.word = back.word;
      for (size_t s = 0; s < kSymbols; ++s) {
        if (node.next[s] != 0) {
          fail[static_cast<size_t>(node.next[s])] = back.next[s];
          queue.push_back(node.next[s]);
        } else {
          node.next[s] = back.next[s];
        }
      }
    }
  }
  // The first word found in `text` without its characters that are no letters or digits, in lower case;
  // empty: none.
  std::string_view find(std::string_view text) const {
    int32_t node = 0;
    for (const char c : text) {
      const int s = symbol(c);
      if (s < 0) continue;
      node = nodes_[static_cast<size_t>(node)].next[static_cast<size_t>(s)];
      const int32_t word = nodes_[static_cast<size_t>(node)].word;
      if (word >= 0) return words_[static_cast<size_t>(word)];
    }
    return {};
  }

 private:
  struct Node {
    std::array<int32_t, kSymbols> next{};
    int32_t word = -1;
  };
  std::vector<Node> nodes_ = std::vector<Node>(1);
  std::vector<std::string> words_;
};

// Letters and digits only, lower case: how the word lists are read.
std::string squeeze(std::string_view text) {
  std::string out;
  for (const char c : text)
    if (is_alnum(c)) out.push_back(ascii_lower(c));
  return out;
}

template <class Function>
void for_each_entry(const fs::path& path, Function function) {
  io::LineReader lines(path);
  while (const std::optional<std::string_view> line = lines.next())
    if (!line->starts_with('#') && !trim(*line).empty()) function(trim(*line));
}

bool contains(const std::vector<std::string>& sorted, std::string_view word) {
  return std::binary_search(sorted.begin(), sorted.end(), word);
}

}  // namespace

struct UrlFilter::Lists {
  StringSet domains, urls;
  std::vector<std::string> banned, soft;  // sorted
  WordFinder subwords;
  size_t n_subwords = 0;

  bool empty() const { return domains.size() + urls.size() + banned.size() + soft.size() + n_subwords == 0; }

  void add_word(std::vector<std::string>& words, std::string_view line) {
    if (std::string word = squeeze(line); !word.empty()) words.push_back(std::move(word));
  }
  void add_subword(std::string_view line) {
    const std::string word = squeeze(line);
    if (word.empty()) return;
    subwords.add(word);
    ++n_subwords;
  }
  void read_directory(const fs::path& directory) {
    const auto read = [&](const char* name, auto function) {
      if (fs::is_regular_file(directory / name)) for_each_entry(directory / name, function);
    };
    read("domains", [&](std::string_view line) { domains.add(to_lower(line)); });
    read("urls", [&](std::string_view line) { urls.add(line); });
    read("banned_words.txt", [&](std::string_view line) { add_word(banned, line); });
    read("soft_banned_words.txt", [&](std::string_view line) { add_word(soft, line); });
    read("banned_subwords.txt", [&](std::string_view line) { add_subword(line); });
  }
  void read_built_in() {
    for (const std::string_view word : kBannedWords) add_word(banned, word);
    for (const std::string_view word : kSoftBannedWords) add_word(soft, word);
    for (const std::string_view word : kBannedSubwords) add_subword(word);
  }
  void finish() {
    for (std::vector<std::string>* words : {&banned, &soft}) {
      std::sort(words->begin(), words->end());
      words->erase(std::unique(words->begin(), words->end()), words->end());
    }
    subwords.finish();
  }
};

UrlFilter::UrlFilter(const fs::path& lists) : lists_(std::make_unique<Lists>()) {
  if (lists.empty()) {
    lists_->read_built_in();
  } else {
    if (!fs::is_directory(lists))
      throw Error("crawl.url_filter",
                  "{}: got no directory, expected one with domains, urls, banned_words.txt …; give its path, "
                  "or none for the built-in lists",
                  lists.string());
    lists_->read_directory(lists);
    for (const std::string_view category : kUt1Categories)
      if (fs::is_directory(lists / category)) lists_->read_directory(lists / category);
    if (lists_->empty())
      throw Error("crawl.url_filter",
                  "{}: got no list, expected any of domains, urls, banned_words.txt, soft_banned_words.txt, "
                  "banned_subwords.txt in it or in its "
                  "directories; choose another directory",
                  lists.string());
  }
  lists_->finish();
}

UrlFilter::~UrlFilter() = default;

std::optional<Reason> UrlFilter::check(std::string_view url) const {
  const Lists& lists = *lists_;
  const std::string host = url_host(url);
  if (lists.domains.size() > 0 && !host.empty()) {
    const std::string_view domain = registered_domain(host);
    if (lists.domains.contains(domain)) return Reason{"url_domain", std::string(domain)};
    if (lists.domains.contains(host)) return Reason{"url_domain", host};
  }
  if (lists.urls.size() > 0) {
    if (lists.urls.contains(url)) return Reason{"url_listed", std::string(url)};
    // UT1 writes host and path, without scheme and closing slash.
    std::string_view bare =
        url.substr(std::min(url.size(), url.find("://") == std::string_view::npos ? 0 : url.find("://") + 3));
    if (bare.ends_with('/')) bare.remove_suffix(1);
    if (lists.urls.contains(bare)) return Reason{"url_listed", std::string(bare)};
  }
  std::vector<std::string_view> soft;
  for (size_t i = 0; i < url.size();) {
    const size_t start = i;
    while (i < url.size() && is_alnum(url[i])) ++i;
    const std::string_view word = url.substr(start, i - start);
    if (i == start) ++i;
    if (word.empty()) continue;
    if (contains(lists.banned, word)) return Reason{"url_banned_word", std::string(word)};
    if (contains(lists.soft, word) && std::find(soft.begin(), soft.end(), word) == soft.end())
      soft.push_back(word);
  }
  if (soft.size() >= kSoftWordThreshold)
    return Reason{"url_soft_words", fmt::format("{}", fmt::join(soft, ", "))};
  if (const std::string_view word = lists.subwords.find(url); !word.empty())
    return Reason{"url_subword", std::string(word)};
  return std::nullopt;
}

}  // namespace tumbler::crawl
