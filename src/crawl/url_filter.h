// FineWeb's URL filter: banned domains, URLs, words, soft words and subwords (datatrove's url_filter, in its order).
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string_view>

#include "base/result.h"

namespace tumbler::crawl {

class UrlFilter {
 public:
  // `lists`: a directory with any of domains, urls, banned_words.txt, soft_banned_words.txt, banned_subwords.txt; empty: the small lists
  // that are built in. UT1's layout (category/domains, category/urls) is read too.
  explicit UrlFilter(const std::filesystem::path& lists);
  ~UrlFilter();
  // Why the URL is dropped, or nothing.
  std::optional<Reason> check(std::string_view url) const;

 private:
  struct Lists;
  std::unique_ptr<Lists> lists_;
};

}  // namespace tumbler::crawl
