#include "text/extract.h"

#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace tumbler::text {
namespace {

std::string extracted(std::string_view html, const ExtractOptions& options = {}) {
  const Result<std::string> text = extract_main_text(html, options);
  return text ? *text : "reason: " + text.reason().code;
}

bool has(const std::string& text, std::string_view part) {
  return text.find(part) != text.npos;
}

const std::string kFiller =
    "<p>Granite is a coarse stone of quartz, feldspar and mica. It cools slowly, deep in the crust, and that "
    "is why its "
    "crystals have the time to grow until the eye can tell them apart.</p>"
    "<p>Basalt, which comes from the same mantle, reaches the air as lava. It cools within days, and its "
    "crystals stay so "
    "small that the stone looks black and even.</p>";

TEST(Extract, ArticleAmongMenusAndFooters) {
  const std::string text = extracted(
      "<html><head><title>Stones</title><script>var x = '<p>no</p>';</script></head><body>"
      "<div class='cookie-banner'><p>We use cookies to make the site better for all of us. Accept?</p></div>"
      "<header><a href=/>Home of stones</a></header><nav><ul><li><a href=/a>Minerals</a><li><a "
      "href=/b>Fossils</a></ul></nav>"
      "<div id=page><div class='post-content'><h2>Two stones</h2>" +
      kFiller +
      "<div class='share-buttons'><a href=/t>Tweet this</a></div><ul><li>quartz, which is hard<li>mica, "
      "which is not</ul>"
      "<p>Related: <a href=/x>All of our stones in one long list of links</a></p></div>"
      "<div class=sidebar><p>Ten more stones that you will not believe are real stones, by our "
      "staff.</p></div>"
      "<section id=comments><h3>2 comments</h3><p>First! I have always loved granite more than any other "
      "stone there is.</p></section>"
      "</div><footer><p>Copyright 2020, all rights reserved by the stone people of this "
      "site.</p></footer></body></html>");
  EXPECT_EQ(text.substr(0, 33), "Two stones\nGranite is a coarse st");
  EXPECT_TRUE(has(text, "apart.\nBasalt")) << text;
  EXPECT_TRUE(has(text, "- quartz, which is hard\n- mica, which is not")) << text;
  for (const char* part :
       {"cookies", "Home of", "Minerals", "Tweet", "believe", "First!", "Copyright", "var x", "Related"})
    EXPECT_FALSE(has(text, part)) << part;
}

TEST(Extract, CommentsWhenWanted) {
  const std::string html =
      "<article>" + kFiller +
      "<div class=comments><p>First! I have always loved granite more than any other.</p></div></article>";
  EXPECT_FALSE(has(extracted(html), "First!"));
  ExtractOptions options;
  options.include_comments = true;
  EXPECT_TRUE(has(extracted(html, options), "First!"));
}

TEST(Extract, ManualInTheStyleOfSphinx) {
  const std::string text = extracted(
      "<body><div class=related role=navigation><ul><li><a href=i.html>index</a></li></ul></div><div "
      "class=document>"
      "<div class=body role=main><section id=related-stones><h1>Related stones<a class=headerlink "
      "href=#related-stones>\u00B6</a></h1>" +
      kFiller +
      "<p>Use <a class='reference link' href=x.html><code class='xref'>weigh()</code></a> on each of them, "
      "as here:</p>"
      "<div class='highlight'><pre><span></span><span class=kn>import</span> stone\n\n"
      "<span class=k>for</span> s <span class=ow>in</span> stone.all():\n    print(s &lt; 3)\n</pre></div>"
      "<dl><dt id=stone.share>stone.share(<em>n</em>)</dt><dd><p>Breaks a stone into <em>n</em> "
      "parts.</p></dd></dl>"
      "</section></div></div><div class=sphinxsidebar><h3>Table of contents</h3></div><div "
      "class=footer>Copyright</div></body>");
  EXPECT_EQ(text.substr(0, text.find('\n')), "Related stones");
  EXPECT_TRUE(
      has(text,
          "Use weigh() on each of them, as here:\nimport stone\n\nfor s in stone.all():\n    print(s < 3)\n"))
      << text;
  EXPECT_TRUE(has(text, "stone.share(n)\nBreaks a stone into n parts.")) << text;
  for (const char* part : {"index", "Table of", "Copyright", "\u00B6"}) EXPECT_FALSE(has(text, part)) << part;
}

TEST(Extract, ManualInTheStyleOfDocBook) {
  const std::string text = extracted(
      "<body><div class=navheader><table><tr><td><a href=p>Prev</a></td><td><a "
      "href=n>Next</a></td></tr></table></div>"
      "<div class=sect1 id=STONE-PRIMARY><h2 class=title>2. Stones</h2>" +
      kFiller +
      "<div class=sect2 id=STONE-TOAST><h3 class=title>2.1. Kinds</h3><p>There are many kinds of stone, and "
      "here are some:</p>"
      "<div class=itemizedlist><ul><li><p>granite, of which mountains are "
      "made</p></li><li><p>slate</p></li></ul></div>"
      "<table><thead><tr><th>Stone</th><th>Hardness</th></tr></thead><tbody><tr><td><p>slate</p></td><td>3</"
      "td></tr>"
      "<tr><td>granite</td><td>6</td></tr></tbody></table></div></div>"
      "<div class=navfooter><table><tr><td><a href=p>Prev</a></td><td>Up</td></tr></table></div></body>");
  EXPECT_TRUE(has(text, "2. Stones\nGranite")) << text;
  EXPECT_TRUE(has(text,
                  "here are some:\n- granite, of which mountains are made\n- slate\nStone | Hardness\nslate "
                  "| 3\ngranite | 6"))
      << text;
  EXPECT_FALSE(has(text, "Prev"));
}

TEST(Extract, TheLeadStandsBeforeTheBody) {
  const std::string text = extracted(
      "<article><h1>Stones</h1><div class=teaser-text><p>Of all things that people walk on without a "
      "thought, stones are the oldest by a long way.</p></div>"
      "<p>By the stone desk</p><div class=article-body>" +
      kFiller + "</div></article>");
  EXPECT_EQ(text.substr(0, 13), "Of all things") << text;
  EXPECT_FALSE(has(text, "desk"));
}

TEST(Extract, QuotesAndLineBreaks) {
  const std::string text = extracted(
      "<article>" + kFiller +
      "<blockquote><p>He said that stones are old.</p><blockquote>She said older.</blockquote></blockquote>"
      "<p>One line of the poem,<br>another line of it.</p></article>");
  EXPECT_TRUE(
      has(text, "He said that stones are old.\nShe said older.\nOne line of the poem,\nanother line of it."))
      << text;
}

TEST(Extract, HiddenElementsAreDropped) {
  const std::string text = extracted(
      "<article>" + kFiller +
      "<p style='color:red; DISPLAY : none'>secret one of the page</p><p hidden>secret two of the page</p>"
      "<p aria-hidden=true>secret three of the page</p><p class=visually-hidden>secret four of the "
      "page</p></article>");
  EXPECT_TRUE(has(text, "Granite"));
  EXPECT_FALSE(has(text, "secret"));
}

TEST(Extract, TablesCanBeLeftOut) {
  const std::string html =
      "<article>" + kFiller + "<table><tr><td>slate</td><td>three</td></tr></table></article>";
  EXPECT_TRUE(has(extracted(html), "slate | three"));
  ExtractOptions options;
  options.include_tables = false;
  EXPECT_FALSE(has(extracted(html, options), "slate"));
}

TEST(Extract, LinkFarmsAreDropped) {
  std::string farm;
  for (int i = 0; i < 40; ++i)
    farm += "<li><a href=/s" + std::to_string(i) + ">Cheap stones number " + std::to_string(i) + "</a></li>";
  EXPECT_FALSE(
      has(extracted("<body><article>" + kFiller + "<ul>" + farm + "</ul></article></body>"), "Cheap"));
  EXPECT_EQ(extracted("<body><ul>" + farm + "</ul></body>"), "reason: empty");
}

TEST(Extract, LayoutTables) {
  const std::string text =
      extracted("<body><table width=100%><tr><td><a href=1>Home</a><br><a href=2>Products</a></td><td>" +
                kFiller + "</td></tr></table></body>");
  EXPECT_TRUE(has(text, "apart.\nBasalt")) << text;
  EXPECT_FALSE(has(text, " | "));
  EXPECT_FALSE(has(text, "Products"));
}

TEST(Extract, OtherLanguages) {
  const std::string german = extracted(
      "<div class=menu><a href=1>Startseite</a></div><div class=artikel><h1>Gesteine</h1><p>Granit ist ein "
      "massiges Tiefengestein, das aus "
      "Feldspat, Quarz und Glimmer besteht. Es entsteht, wenn Magma in gro\u00DFer Tiefe langsam "
      "erstarrt.</p><p>Basalt dagegen entsteht an "
      "der Oberfl\u00E4che, wo die Lava in wenigen Tagen abk\u00FChlt; seine Kristalle bleiben deshalb "
      "klein, und der Stein wirkt dunkel und dicht.</p></div>");
  EXPECT_EQ(german.substr(0, 15), "Gesteine\nGranit");
  EXPECT_FALSE(has(german, "Startseite"));
  std::string sentence =
      "\u82B1\u5D17\u5CA9\u306F\u3001\u77F3\u82F1\u3068\u9577\u77F3\u3068\u96F2\u6BCD\u304B\u3089\u306A\u308B"
      "\u5CA9\u77F3\u3067\u3042\u308B\u3002";
  std::string body;
  for (int i = 0; i < 8; ++i) body += "<p>" + std::to_string(i) + sentence + sentence + "</p>";
  const std::string japanese =
      extracted("<nav><a href=1>\u30DB\u30FC\u30E0</a></nav><main>" + body + "</main>");
  EXPECT_TRUE(has(japanese, sentence + "\n1" + sentence));
  EXPECT_FALSE(has(japanese, "\u30DB\u30FC\u30E0"));
}

TEST(Extract, TextIsNormalised) {
  EXPECT_EQ(extracted("<p>Cafe\u0301&nbsp;&nbsp;au\tlait\n \x01zero&#173;</p>"),
            "Caf\u00E9 au lait zero\u00AD");
}

TEST(Extract, ReasonsForNoText) {
  EXPECT_EQ(extracted(""), "reason: empty");
  EXPECT_EQ(extracted(" \n\t"), "reason: empty");
  EXPECT_EQ(extracted("just words"), "reason: not_html");
  EXPECT_EQ(extracted("<script>var words = 'many words';</script>"), "reason: empty");
  EXPECT_EQ(extracted("<html><body></body></html>"), "reason: empty");
  ExtractOptions options;
  options.max_nodes = 10;
  EXPECT_EQ(extracted("<p>1<p>2<p>3<p>4<p>5<p>6", options), "reason: too_many_nodes");
  std::string deep;
  for (int i = 0; i < 200'000; ++i) deep += "<div>";
  EXPECT_EQ(extracted(deep), "reason: too_deep");
}

TEST(Extract, MalformedPages) {
  const std::string text = extracted("<html><body class=no-sidebar><div class=content><p>" + kFiller +
                                     "<p>An <b>unclosed tag and a <a href='x>broken one.");
  EXPECT_TRUE(has(text, "Granite") && has(text, "An unclosed tag and a")) << text;
  extracted(std::string("<p>\0\0a<\0b>\xFF\xFE\xC2", 14));
  extracted("<table><td><table><tr></table></p></td><li></ol><a><a></table>");
  EXPECT_TRUE(has(extracted("<form action=x><div>" + kFiller + "</div></form>"),
                  "Granite"));  // a form around the page
}

TEST(Extract, ManyThreadsGiveTheSame) {
  const std::string html = "<article>" + kFiller + "</article>";
  const std::string expected = extracted(html);
  std::vector<std::string> texts(8);
  std::vector<std::thread> threads;
  for (std::string& text : texts) threads.emplace_back([&] { text = extracted(html); });
  for (std::thread& thread : threads) thread.join();
  for (const std::string& text : texts) EXPECT_EQ(text, expected);
}

// Sizes at which anything quadratic would take minutes.
TEST(SlowExtract, HostilePagesTakeLinearTime) {
  constexpr int kN = 1'000'000;
  const auto repeated = [](std::string_view part, int n) {
    std::string out;
    for (int i = 0; i < n; ++i) out += part;
    return out;
  };
  std::string attributes = "<p ";
  for (int i = 0; i < kN; ++i) attributes += "a" + std::to_string(i) + "=1 ";
  const std::string tail = kFiller;
  EXPECT_TRUE(has(extracted(attributes + ">" + tail), "Granite"));
  extracted(repeated("<div>", 90'000) + repeated("</b>", kN) + tail);
  extracted(repeated("<p><table><tr><td>", 20'000) + repeated("<div></p>", 100'000) + tail);
  extracted(repeated("<a href=x><div>", 40'000) + tail);
  extracted(repeated("<table><tr><td>", 30'000) + tail);
  extracted(repeated("<ul><li>x", 40'000) + tail);
  extracted(repeated("<b><i>", 45'000) + tail);
  extracted(repeated("<!--", kN) + tail);
  extracted(repeated("<script>", kN));
  extracted(repeated("&amp", kN) + repeated("&", kN) + tail);
  extracted(repeated("<div class='comment share sidebar related'>x</div>", 100'000) + tail);
  extracted(repeated("<pre>\n x \n", 30'000) + tail);
  extracted(repeated("<div id=related-posts><h2>", 40'000) + tail);
  EXPECT_TRUE(has(extracted(tail + repeated("word and word ", 4'000'000)), "Granite"));
}

}  // namespace
}  // namespace tumbler::text
