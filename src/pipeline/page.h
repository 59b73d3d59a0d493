// The frame of a report: style sheet, head, sections. Light and dark, readable on a phone and on paper.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace tumbler::pipeline {

// A section with an anchor; `body` is HTML.
std::string section(std::string_view id, std::string_view title, std::string_view body);

struct Card {
  std::string value, label;  // "1.42" "bits per byte on held-out pages"
};
std::string cards(const std::vector<Card>& cards);

// A table; cells are HTML (escape them before). The first row is the heading; columns named in `right` are
// right-aligned.
std::string table(const std::vector<std::vector<std::string>>& rows, const std::vector<size_t>& right);

// "12.3 MB", "4.1 GB" (powers of ten), "7 min 12 s", "0.4 s", "12,345".
std::string human_bytes(double bytes);
std::string human_seconds(double seconds);
std::string human_count(double count);

// The whole file.
std::string html_page(std::string_view title, std::string_view subtitle, std::string_view body);

}  // namespace tumbler::pipeline
