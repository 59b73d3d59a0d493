#include "tiny_crawl.h"

#include <array>

#include <fmt/format.h>

#include "base/rng.h"

namespace tumbler::tests {
namespace {

template <size_t N>
const char* pick(Rng& rng, const std::array<const char*, N>& words) {
  return words[rng.below(N)];
}

std::string noun(Rng& rng) {
  static constexpr std::array kNouns = {
      "river",    "stone",   "garden",  "engine", "teacher", "window",  "harbour", "letter",
      "mountain", "clock",   "bridge",  "market", "forest",  "student", "library", "valley",
      "machine",  "writer",  "village", "road",   "island",  "sailor",  "kitchen", "painter",
      "orchard",  "tower",   "lantern", "farmer", "winter",  "castle",  "museum",  "doctor",
      "meadow",   "station", "singer",  "cellar", "temple",  "desert"};
  static constexpr std::array kAdjectives = {"old",     "quiet",  "small",   "famous", "broken", "green",
                                             "distant", "heavy",  "bright",  "narrow", "warm",   "hidden",
                                             "lonely",  "golden", "curious", "silent"};
  return rng.below(2) == 0 ? std::string(pick(rng, kNouns))
                           : fmt::format("{} {}", pick(rng, kAdjectives), pick(rng, kNouns));
}

std::string sentence(Rng& rng) {
  static constexpr std::array kVerbs = {
      "stands near", "was built with", "belongs to", "follows",   "looks like", "is older than", "changed",
      "remembers",   "hides",          "protects",   "describes", "surrounds",  "explains",      "replaced"};
  static constexpr std::array kTimes = {
      "in the morning",  "after the war", "for many years", "before the winter", "to this day",
      "when rain falls", "every summer",  "without haste",  "as she wrote",      "once again"};
  static constexpr std::array kWho = {"People",   "Some",       "Travellers", "Historians",
                                      "Children", "Neighbours", "Few",        "Most guides"};
  static constexpr std::array kSay = {"say that", "believe that", "often forget that", "have written that",
                                      "doubt that"};
  switch (rng.below(6)) {
    case 0:
      return fmt::format("The {} {} the {}.", noun(rng), pick(rng, kVerbs), noun(rng));
    case 1:
      return fmt::format("{} {} the {} {} a {} {}.", pick(rng, kWho), pick(rng, kSay), noun(rng),
                         pick(rng, kVerbs), noun(rng), pick(rng, kTimes));
    case 2:
      return fmt::format("Its {} has {} rooms and one {} that {} them.", noun(rng), 2 + rng.below(90),
                         noun(rng), pick(rng, kVerbs));
    case 3:
      return fmt::format("They walked with a {} from the {} to another {} {}.", noun(rng), noun(rng),
                         noun(rng), pick(rng, kTimes));
    case 4:
      return fmt::format("No {} of this {} {} what {} know.", noun(rng), noun(rng), pick(rng, kVerbs),
                         pick(rng, kWho));
    default:
      return fmt::format("Because every {} {} some {}, we have to be patient {}.", noun(rng),
                         pick(rng, kVerbs), noun(rng), pick(rng, kTimes));
  }
}

std::string page(Rng& rng, int paragraphs, std::string_view before = "") {
  std::string body = std::string(before) +
                     "<nav><a href='/'>Home</a> <a href='/all'>All pages</a></nav><article><h1>About the " +
                     noun(rng) + "</h1>";
  for (int p = 0; p < paragraphs; ++p) {
    body += "<p>";
    for (uint64_t s = 0; s < 3 + rng.below(4); ++s) body += sentence(rng) + " ";
    body += "</p>\n";
  }
  return "<!doctype html><html><head><title>Page</title><meta charset='utf-8'></head><body>" + body +
         "</article><footer>Contact</footer></body></html>";
}

std::string record_with_id(int number, std::string_view url, std::string_view html,
                           std::string_view content_type, int64_t length) {
  const std::string http = fmt::format("HTTP/1.1 200 OK\r\nContent-Type: {}\r\nContent-Length: {}\r\n\r\n{}",
                                       content_type, html.size(), html);
  return fmt::format(
      "WARC/1.0\r\nWARC-Type: response\r\nWARC-Record-ID: "
      "<urn:uuid:00000000-0000-0000-0000-{:012}>\r\nWARC-Date: 2026-11-23T00:00:00Z\r\n"
      "WARC-Target-URI: {}\r\nContent-Type: application/http; "
      "msgtype=response\r\nContent-Length: {}\r\n\r\n{}\r\n\r\n",
      number, url, length < 0 ? static_cast<int64_t>(http.size()) : length, http);
}

std::string record(int number, const std::string& html) {
  // One page has the address that docs/pipeline.md asks about.
  const std::string url = number == 3 ? "http://sqlite3-doc.debian.example/usr/share/doc/sqlite3/about.html"
                                      : fmt::format("http://tiny.example/page{}.html", number);
  return record_with_id(number, url, html, "text/html; charset=utf-8", -1);
}

}  // namespace

std::string tiny_crawl(int pages, unsigned seed) {
  Rng rng(seed);
  std::string warc, duplicated;
  int number = 0;
  for (int i = 0; i < pages; ++i) {
    const std::string html = page(rng, 6 + static_cast<int>(rng.below(6)));
    if (i == 0) duplicated = html;
    warc += record(number++, html);
  }
  warc += record(number++, duplicated);
  warc += record(number++, "<html><body><p>Too short.</p></body></html>");
  std::string german;
  for (int i = 0; i < 12; ++i)
    german +=
        "<p>Der alte Fluss fließt durch das Tal, und die Leute erzählen noch heute von der Brücke, die hier "
        "einmal gestanden hat.</p>";
  warc += record(number++, "<html><body><article>" + german + "</article></body></html>");
  const std::string broken = record(number++, page(rng, 8));
  return warc + broken.substr(0, broken.size() / 2);
}

std::string page(uint64_t seed, int paragraphs, std::string_view before) {
  Rng rng(seed);
  return page(rng, paragraphs, before);
}

std::string record(std::string_view url, std::string_view html, std::string_view content_type,
                   int64_t length) {
  return record_with_id(1, url, html, content_type, length);
}

}  // namespace tumbler::tests
