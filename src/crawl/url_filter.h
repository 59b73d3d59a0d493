// FineWeb's URL filter: banned domains, URLs, words, soft words and subwords (datatrove's url_filter, in its
// order).
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string_view>

#include "base/result.h"

namespace tumbler::crawl {

// In this order, the first hit drops: (a) the registered domain is in `domains`, (b) the host is; (c) the URL
// is in `urls`; (d) a word of the URL (its runs of ASCII letters and digits) is a banned word; (e) two
// different words are soft banned words; (f) a banned subword is in the URL's letters and digits run
// together, in lower case. As in datatrove, list entries are read in lower case and the words of (d) and (e)
// are NOT put in lower case first, so /Casino/ passes (d); (f) sees it in any case. Lines that start with
// '#' are comments. Unlike there, `urls` also matches without the scheme, which is how UT1 writes them.
class UrlFilter {
 public:
  // `lists`: a directory with any of domains, urls, banned_words.txt, soft_banned_words.txt,
  // banned_subwords.txt; empty: the small lists that are built in. UT1's layout (category/domains,
  // category/urls) is read too. Throws Error where there is no list.
  explicit UrlFilter(const std::filesystem::path& lists);
  ~UrlFilter();
  // Why the URL is dropped, or nothing. Codes: url_domain, url_listed, url_banned_word, url_soft_words,
  // url_subword; the detail is the entry that matched. Safe to call from many threads.
  std::optional<Reason> check(std::string_view url) const;

 private:
  struct Lists;
  std::unique_ptr<Lists> lists_;
};

}  // namespace tumbler::crawl
