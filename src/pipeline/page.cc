#include "pipeline/page.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "pipeline/svg.h"

namespace tumbler::pipeline {
namespace {

constexpr std::string_view kStyle = R"css(
:root { --bg:#fcfcfb; --fg:#1d1f21; --dim:#686d72; --line:#e2e3e1; --card:#f3f3f0; --s0:#2563a8; --s1:#c2571a; --s2:#3a8a4d; --s3:#8a4fa3; --s4:#a08a14; --hot:37,99,168; }
@media (prefers-color-scheme: dark) { :root { --bg:#16181a; --fg:#e3e4e2; --dim:#969ba0; --line:#303438; --card:#1f2225; --s0:#6aa5e3; --s1:#e88d55; --s2:#74c088; --s3:#c08fd6; --s4:#d4bf55; --hot:106,165,227; } }
* { box-sizing:border-box }
body { margin:0 auto; max-width:60rem; padding:2rem 1rem 5rem; background:var(--bg); color:var(--fg); font:16px/1.55 system-ui,sans-serif }
h1 { font-size:2rem; margin:0 } h2 { margin:3rem 0 .6rem; font-size:1.35rem; border-bottom:1px solid var(--line); padding-bottom:.3rem }
h3 { font-size:1rem; margin:1.6rem 0 .4rem } p { margin:.5rem 0 } a { color:var(--s0) }
.sub,.note,figcaption,th { color:var(--dim) } .note { font-size:.9rem }
nav { display:flex; flex-wrap:wrap; gap:.1rem 1rem; margin:1rem 0; font-size:.9rem } nav a { text-decoration:none; white-space:nowrap }
.cards { display:grid; grid-template-columns:repeat(auto-fit,minmax(10rem,1fr)); gap:.7rem; margin:1rem 0 }
.card { background:var(--card); border-radius:8px; padding:.8rem 1rem } .card b { display:block; font-size:1.35rem; line-height:1.3; white-space:nowrap } .card span { color:var(--dim); font-size:.85rem }
table { border-collapse:collapse; width:100%; font-size:.9rem; margin:.6rem 0 } th,td { text-align:left; padding:.3rem .6rem .3rem 0; border-bottom:1px solid var(--line); vertical-align:top } th { font-weight:500 } .r { text-align:right; font-variant-numeric:tabular-nums; white-space:nowrap }
.scroll { overflow-x:auto } .stages td:first-child { white-space:nowrap } .stages td:nth-child(2) { min-width:9rem } .blank { color:var(--dim) }
figure { margin:1rem 0 } figcaption { font-size:.85rem; margin-bottom:.2rem } svg { width:100%; height:auto; display:block }
.grid { stroke:var(--line) } .tick { fill:var(--dim); font:11px system-ui,sans-serif } .line { fill:none; stroke-width:1.6; stroke-linejoin:round }
.line.s0{stroke:var(--s0)} .line.s1{stroke:var(--s1)} .line.s2{stroke:var(--s2)} .line.s3{stroke:var(--s3)} .line.s4{stroke:var(--s4)}
.dot.s0,.fill.s0{fill:var(--s0);background:var(--s0)} .dot.s1,.fill.s1{fill:var(--s1);background:var(--s1)} .dot.s2,.fill.s2{fill:var(--s2);background:var(--s2)} .dot.s3,.fill.s3{fill:var(--s3);background:var(--s3)} .dot.s4,.fill.s4{fill:var(--s4);background:var(--s4)}
.key { margin-left:.8rem } .key::before { content:""; display:inline-block; width:.8em; height:.25em; margin-right:.35em; vertical-align:middle; background:currentColor } .key.s0{color:var(--s0)} .key.s1{color:var(--s1)} .key.s2{color:var(--s2)} .key.s3{color:var(--s3)} .key.s4{color:var(--s4)}
.bars { margin:.8rem 0; font-size:.9rem } .bar { display:grid; grid-template-columns:minmax(8rem,15rem) 1fr 8.5rem; gap:.7rem; align-items:center; padding:.12rem 0 } .label { overflow-wrap:anywhere } .track { background:var(--card); border-radius:3px; height:.85rem } .fill { display:block; height:100%; border-radius:3px; min-width:1px } .value { font-variant-numeric:tabular-nums; white-space:nowrap }
pre,.text { background:var(--card); border-radius:8px; padding:.7rem .9rem; font:13.5px/1.5 ui-monospace,monospace; white-space:pre-wrap; overflow-wrap:anywhere; margin:.4rem 0 1rem } .text b { font-weight:700 }
.tok { border-radius:3px; padding:.06em 0 } .tok:nth-child(5n){background:color-mix(in srgb,var(--s0) 24%,transparent)} .tok:nth-child(5n+1){background:color-mix(in srgb,var(--s1) 24%,transparent)} .tok:nth-child(5n+2){background:color-mix(in srgb,var(--s2) 24%,transparent)} .tok:nth-child(5n+3){background:color-mix(in srgb,var(--s3) 24%,transparent)} .tok:nth-child(5n+4){background:color-mix(in srgb,var(--s4) 24%,transparent)}
.p { border-radius:3px } details { margin:.4rem 0 } summary { cursor:pointer; color:var(--s0) }
@media (max-width:36rem) { .bar { grid-template-columns:7.5rem 1fr 6.7rem; gap:.4rem; font-size:.82rem } h1 { font-size:1.6rem } }
@media print { body { max-width:none } details > * { display:block } }
)css";

}  // namespace

std::string section(std::string_view id, std::string_view title, std::string_view body) {
  return fmt::format("<section id='{}'><h2>{}</h2>{}</section>\n", id, escape_html(title), body);
}

std::string cards(const std::vector<Card>& list) {
  std::string out = "<div class='cards'>";
  for (const Card& card : list)
    out += fmt::format("<div class='card'><b>{}</b><span>{}</span></div>", escape_html(card.value),
                       escape_html(card.label));
  return out + "</div>";
}

std::string table(const std::vector<std::vector<std::string>>& rows, const std::vector<size_t>& right) {
  std::string out = "<div class='scroll'><table>";
  for (size_t r = 0; r < rows.size(); ++r) {
    out += "<tr>";
    for (size_t c = 0; c < rows[r].size(); ++c) {
      const bool align = std::find(right.begin(), right.end(), c) != right.end();
      out += fmt::format("<{0}{1}>{2}</{0}>", r == 0 ? "th" : "td", align ? " class='r'" : "", rows[r][c]);
    }
    out += "</tr>";
  }
  return out + "</table></div>";
}

std::string human_bytes(double bytes) {
  const char* units[] = {"bytes", "kB", "MB", "GB", "TB"};
  size_t unit = 0;
  while (bytes >= 999.5 && unit + 1 < std::size(units)) bytes /= 1000, ++unit;
  return fmt::format("{:.{}f} {}", bytes, unit > 0 && bytes < 99.95 ? 1 : 0, units[unit]);
}

std::string human_seconds(double seconds) {
  if (seconds < 10) return fmt::format("{:.1f} s", seconds);
  const int64_t whole = std::llround(seconds);
  if (whole < 60) return fmt::format("{} s", whole);
  if (whole < 3600) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  return fmt::format("{} h {:02} min", whole / 3600, whole % 3600 / 60);
}

std::string human_count(double count) {
  std::string digits = fmt::format("{}", std::llround(count));
  for (int64_t at = static_cast<int64_t>(digits.size()) - 3; at > (count < 0 ? 1 : 0); at -= 3)
    digits.insert(static_cast<size_t>(at), ",");
  return digits;
}

std::string html_page(std::string_view title, std::string_view subtitle, std::string_view body) {
  return fmt::format(
      "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'><meta name='viewport' "
      "content='width=device-width, "
      "initial-scale=1'><meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; style-src "
      "'unsafe-inline'\"><title>{0}</title><style>{1}</style></head>\n<body><h1>{0}</h1><p "
      "class='sub'>{2}</p>\n{3}</body></html>\n",
      escape_html(title), kStyle, escape_html(subtitle), body);
}

}  // namespace tumbler::pipeline
