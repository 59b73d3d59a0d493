#include "pipeline/report_data.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "io/file.h"
#include "io/lines.h"
#include "pipeline/facts.h"
#include "pipeline/svg.h"
#include "tokens/tokenizer.h"

namespace fs = std::filesystem;

namespace tumbler::pipeline {
namespace {

using Json = nlohmann::json;

std::string missing(std::string_view what) {
  return fmt::format("<p class='note'>{} has not been run yet.</p>", what);
}

std::vector<std::pair<double, std::string>> largest(const Json& counts, size_t most) {
  std::vector<std::pair<double, std::string>> sorted;
  for (const auto& [name, count] : counts.items())
    if (count.is_number()) sorted.emplace_back(count.get<double>(), name);
  std::sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  if (sorted.size() > most) sorted.resize(most);
  return sorted;
}

std::string funnel_chart(const Json& funnel) {
  std::vector<Bar> bars;
  for (const Json& filter : funnel.value("filters", Json::array())) {
    const double in = number(filter, "pages_in"), out = number(filter, "pages_out");
    const std::string value =
        in > out ? fmt::format("{} (−{})", human_count(out), human_count(in - out)) : human_count(out);
    bars.push_back({text(filter, "filter"), value, out, in > out ? 1 : 0,
                    fmt::format("{} pages in, {} out, {} of text left", human_count(in), human_count(out),
                                human_bytes(number(filter, "bytes_out")))});
  }
  return "<h3>Pages left after each filter</h3>" + bar_chart(bars);
}

std::string reasons_table(const Json& funnel) {
  std::vector<std::vector<std::string>> rows = {{"filter", "reason", "pages"}};
  for (const Json& filter : funnel.value("filters", Json::array()))
    for (const auto& [count, reason] : largest(filter.value("reasons", Json::object()), 4))
      rows.push_back({escape_html(text(filter, "filter")), escape_html(reason), human_count(count)});
  return "<details><summary>Why pages were dropped</summary>" + table(rows, {2}) + "</details>";
}

std::string languages(const Json& funnel) {
  std::vector<Bar> bars;
  for (const auto& [count, language] : largest(funnel.value("languages", Json::object()), 12))
    bars.push_back({language, human_count(count), count, language == "en" ? 0 : 1, {}});
  return fmt::format("<h3>Languages of the pages with text (told apart by {})</h3>",
                     escape_html(text(funnel, "language_model"))) +
         bar_chart(bars);
}

// Text cut so that no character is cut and, where a space is near, no word. Says so.
std::string head(std::string_view text, size_t most) {
  if (text.size() <= most) return std::string(text);
  while (most > 0 && (static_cast<unsigned char>(text[most]) & 0xc0) == 0x80) --most;
  const size_t space = text.substr(0, most).find_last_of(" \n");
  if (space != std::string_view::npos && space + 40 > most) most = space;
  return std::string(text.substr(0, most)) + " …";
}

// The first pages that each filter dropped, so that one can judge it. Of many parts some, evenly spread, and
// the beginning of each: a report of terabytes takes no longer.
std::string dropped_examples(const RunLayout& layout) {
  constexpr size_t kEach = 2, kMostParts = 16;
  constexpr int kMostPages = 2000;  // of a part
  std::map<std::string, size_t> shown;
  std::vector<std::vector<std::string>> rows = {{"filter", "page", "its text begins"}};
  const std::vector<fs::path> parts = io::glob((layout.data() / "removed" / "*.jsonl.zst").string());
  const size_t chosen = std::min(parts.size(), kMostParts);
  for (size_t part = 0; part < chosen; ++part) {
    io::LineReader reader(parts[part * parts.size() / chosen]);
    for (int i = 0; i < kMostPages; ++i) {
      const auto line = reader.next();
      if (!line) break;
      const Json page = Json::parse(*line, nullptr, /*allow_exceptions=*/false);
      if (page.is_discarded() || text(page, "text").empty() || ++shown[text(page, "filter")] > kEach)
        continue;
      rows.push_back({fmt::format("{}<br><span class='note'>{} {}</span>", escape_html(text(page, "filter")),
                                  escape_html(text(page, "reason")), escape_html(text(page, "detail"))),
                      escape_html(text(page, "url")),
                      fmt::format("<div class='text'>{}</div>", escape_html(head(text(page, "text"), 240)))});
    }
  }
  if (rows.size() == 1) return "";
  return "<details><summary>Some of the dropped pages</summary>" + table(rows, {}) + "</details>";
}

// Do the last bytes begin a UTF-8 character that they do not end?
bool ends_inside_character(std::string_view bytes) {
  for (size_t back = 1; back <= std::min<size_t>(3, bytes.size()); ++back) {
    const auto byte = static_cast<unsigned char>(bytes[bytes.size() - back]);
    if ((byte & 0xc0) == 0x80) continue;
    const size_t length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    return length > back;
  }
  return false;
}

std::string coloured(const tokens::Tokenizer& tokenizer, std::string_view passage) {
  std::string out = "<div class='text'>", pending;
  std::string ids;
  for (const tokens::TokenId id : tokenizer.encode(passage)) {
    pending += tokenizer.token_bytes(id);
    ids += fmt::format("{}{}", ids.empty() ? "" : " ", id);
    // A token may end inside a character: it shares a box with the next.
    if (ends_inside_character(pending)) continue;
    out += fmt::format("<span class='tok' title='{}'>{}</span>", ids, escape_html(pending));
    pending.clear();
    ids.clear();
  }
  return out + escape_html(pending) + "</div>";
}

// A token for people: one of white space alone would be a hole in the line.
std::string visible(std::string_view bytes) {
  constexpr std::string_view kNoBreakSpace = "\u00a0";
  std::string_view rest = bytes;
  size_t characters = 0;
  for (; !rest.empty(); ++characters) {
    if (rest.starts_with(kNoBreakSpace))
      rest.remove_prefix(kNoBreakSpace.size());
    else if (std::string_view(" \t\r\n").find(rest[0]) != std::string_view::npos)
      rest.remove_prefix(1);
    else
      return fmt::format("<code>{}</code>", escape_html(bytes));
  }
  return fmt::format("<code class='blank'>{} × {}</code>", characters,
                     bytes.starts_with(kNoBreakSpace) ? "no-break space" : "white space");
}

}  // namespace

std::vector<Card> data_cards(const RunLayout& layout) {
  const auto funnel = find_json(layout.data() / "funnel.json");
  if (!funnel) return {};
  const Json filters = funnel->value("filters", Json::array());
  const double pages = filters.empty() ? 0 : number(filters.front(), "pages_in");
  return {{human_count(pages), "pages crawled"},
          {human_count(number(*funnel, "documents")),
           fmt::format("documents kept, {} of text", human_bytes(number(*funnel, "document_bytes")))}};
}

std::string data_section(const RunLayout& layout) {
  const auto funnel = find_json(layout.data() / "funnel.json");
  if (!funnel) return missing("The data stage");
  const Json pii = funnel->value("pii", Json::object());
  return funnel_chart(*funnel) + reasons_table(*funnel) + languages(*funnel) +
         fmt::format("<p class='note'>{} e-mail and {} IP addresses were replaced.</p>",
                     human_count(number(pii, "emails")), human_count(number(pii, "ips"))) +
         dropped_examples(layout);
}

std::string tokens_section(const RunLayout& layout) {
  const auto manifest = find_json(layout.tokens() / "manifest.json");
  if (!manifest || !fs::exists(layout.tokenizer() / "tokenizer.json")) return missing("The tokenizer");
  const tokens::Tokenizer tokenizer = tokens::Tokenizer::load(layout.tokenizer());
  const Json held = manifest->value("held_out", Json::object()),
             train = manifest->value("train", Json::object());
  const auto per_token = [](const Json& counts) {
    return number(counts, "text_bytes", number(counts, "bytes")) / std::max(1.0, number(counts, "tokens"));
  };
  std::string out = table({{"", "documents", "tokens", "bytes a token"},
                           {"to train on", human_count(number(train, "documents")),
                            human_count(number(train, "tokens")), fmt::format("{:.2f}", per_token(train))},
                           {"held out", human_count(number(held, "documents")),
                            human_count(number(held, "tokens")), fmt::format("{:.2f}", per_token(held))}},
                          {1, 2, 3});
  std::string longest;
  std::vector<std::pair<size_t, tokens::TokenId>> by_length;
  for (tokens::TokenId id = 0; id < tokenizer.vocab_size(); ++id)
    if (tokenizer.has(id) && !tokenizer.is_added(id))
      by_length.emplace_back(tokenizer.token_bytes(id).size(), id);
  std::sort(by_length.rbegin(), by_length.rend());
  for (size_t i = 0; i < std::min<size_t>(24, by_length.size()); ++i)
    longest += visible(tokenizer.token_bytes(by_length[i].second)) + " ";
  out += fmt::format("<p>{} tokens in the vocabulary. The longest: {}</p>",
                     human_count(static_cast<double>(tokenizer.vocab_size())), longest);
  const fs::path held_out = layout.tokens() / "held_out.txt";
  if (fs::exists(held_out)) {
    const io::MappedFile file(held_out);
    out += "<h3>What the model sees of a held-out page (hover for the ids)</h3>" +
           coloured(tokenizer, head(file.text(), 900));
  }
  return out;
}

}  // namespace tumbler::pipeline
