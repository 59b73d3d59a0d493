// What the class, id and role of an element say about it, as bits.
#pragma once

#include <cstdint>
#include <string_view>

namespace tumbler::text {

enum Hint : uint32_t {
  // Containers of the main text, from sure to vague.
  kHintArticleBody = 1u << 0,  // "article-body", "entry-content", "post__text"
  kHintArticle = 1u << 1,      // "article", "story", "post"
  kHintContent = 1u << 2,      // "content", "page-content"
  kHintMain = 1u << 3,         // "main…"
  // Never part of the main text.
  kHintBoilerplate = 1u << 4,  // menus, sharing, related links, advertisements, consent …
  kHintDoubtful = 1u << 5,     // dropped only where precision is favoured
  kHintComments = 1u << 6,
  kHintHidden = 1u << 7,  // "visually-hidden", "d-none"
  kHintTeaser = 1u << 8,
  kHintPermalink = 1u << 9,  // the "¶" behind a heading; line numbers beside code
  // Weights of the readability scorer.
  kHintUnlikely = 1u << 10,
  kHintMaybe = 1u << 11,
  kHintPositive = 1u << 12,
  kHintNegative = 1u << 13,
  kHintSection = 1u << 14,  // a section of a manual, in DocBook's names

};

// The hints of one class or id attribute. Words are looked for case-insensitively; a word begins after
// anything that is not a letter or digit and at a capital after a small letter ("postContent" has the words
// "post" and "content").
uint32_t find_hints(std::string_view class_or_id) noexcept;

}  // namespace tumbler::text
