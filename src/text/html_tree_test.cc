#include "text/html_tree.h"

#include <string>

#include <gtest/gtest.h>

namespace tumbler::text {
namespace {

const char* tag_name(Tag tag) {
  switch (tag) {
    case Tag::kText:
      return "#text";
#define X(name)      \
  case Tag::name##_: \
    return #name;
      TUMBLER_HTML_TAGS(X)
#undef X
    default:
      return "?";
  }
}

// "(p (b "x"))": the tree below the document.
std::string dump(const HtmlTree& tree, int32_t root = 0) {
  std::string out;
  for (int32_t i = root + 1; i < tree[root].end; i = tree[i].end) {
    if (!out.empty()) out += ' ';
    if (tree.tag(i) == Tag::kText) {
      out += '"' + std::string(tree.text(i)) + '"';
    } else {
      const std::string inner = dump(tree, i);
      out += std::string("(") + tag_name(tree.tag(i)) + (inner.empty() ? "" : " ") + inner + ")";
    }
  }
  return out;
}

std::string parsed(std::string_view html) {
  const Result<HtmlTree> tree = HtmlTree::parse(html, 1'000'000, 1'000'000);
  return tree ? dump(*tree) : tree.reason().code;
}

TEST(HtmlTree, NestsAndClosesAsBrowsersDo) {
  EXPECT_EQ(parsed("<p>a<p>b"), "(p \"a\") (p \"b\")");
  EXPECT_EQ(parsed("<p>a<div>b</div>"), "(p \"a\") (div \"b\")");
  EXPECT_EQ(parsed("<ul><li>a<ul><li>b</ul><li>c</ul>"), "(ul (li \"a\" (ul (li \"b\"))) (li \"c\"))");
  EXPECT_EQ(parsed("<table><tr><td>a<td>b<tr><td>c</table>d"),
            "(table (tr (td \"a\") (td \"b\")) (tr (td \"c\"))) \"d\"");
  EXPECT_EQ(parsed("<div><table><tr><td></div>x</td></tr></table>y</div>z"),
            "(div (table (tr (td \"x\"))) \"y\") \"z\"");
  EXPECT_EQ(parsed("<dl><dt>a<dd>b<dt>c</dl>"), "(dl (dt \"a\") (dd \"b\") (dt \"c\"))");
  EXPECT_EQ(parsed("a</p></div></td>b"), "\"a\" \"b\"");
  EXPECT_EQ(parsed("<h1>a<h2>b</h2>"), "(h1 \"a\") (h2 \"b\")");
  EXPECT_EQ(parsed("<br/>a</br>b<hr>"), "(br) \"a\" (br) \"b\" (hr)");
}

TEST(HtmlTree, LinksNeverNest) {
  EXPECT_EQ(parsed("<a href=1>x<a href=2>y</a>"), "(a \"x\") (a \"y\")");
  EXPECT_EQ(parsed("<a name=t><div>x<a href=2>y</a></div>"), "(span (div \"x\" (a \"y\")))");
}

TEST(HtmlTree, RawTextAndComments) {
  EXPECT_EQ(parsed("<script>if (a<b) '</div>'</script>x"), "(script) \"x\"");
  EXPECT_EQ(parsed("<style>p > b{}</style >x"), "(style) \"x\"");
  EXPECT_EQ(parsed("<title>a<b>&amp;</title>x"), "(title \"a<b>&\") \"x\"");
  EXPECT_EQ(parsed("a<!-- <p> --><!---->b<!-->c<!doctype html>d<?php ?>e"), "\"a\" \"b\" \"c\" \"d\" \"e\"");
  EXPECT_EQ(parsed("a<!-- never ends <p>b"), "\"a\"");
  EXPECT_EQ(parsed("<script>never ends <p>b"), "(script)");
}

TEST(HtmlTree, TextThatOnlyLooksLikeMarkup) {
  EXPECT_EQ(parsed("1 < 2 <3 <"), "\"1 < 2 <3 <\"");
  EXPECT_EQ(parsed("a<b"), "\"a\"");  // the page ends inside the tag
  EXPECT_EQ(parsed("a</"), "\"a\"");
}

TEST(HtmlTree, Entities) {
  std::string out;
  decode_entities(
      "&amp; &lt &euro; &#8364; &#x20AC; &#150; &nosuch; &AMP;&notit; &#xD800; &#0; & &; &#; "
      "&CounterClockwiseContourIntegral;",
      false, out);
  EXPECT_EQ(out, "& < \u20AC \u20AC \u20AC \u2013 &nosuch; &\u00ACit; \uFFFD \uFFFD & &; &#; \u2233");
  out.clear();
  decode_entities("?a=1&copy=2&lt;&amp", true, out);
  EXPECT_EQ(out, "?a=1&copy=2<&");
}

TEST(HtmlTree, Attributes) {
  const Result<HtmlTree> tree =
      HtmlTree::parse("<div CLASS='a &amp; b' class=c id=x/y hidden data-z=\"&lt;\" href = /q?a>t", 100, 100);
  ASSERT_TRUE(tree);
  EXPECT_EQ(tree->attribute(1, Attribute::class_), "a & b");
  EXPECT_EQ(tree->attribute(1, Attribute::id_), "x/y");
  EXPECT_TRUE(tree->has(1, Attribute::hidden_));
  EXPECT_EQ(tree->attribute(1, Attribute::href_), "/q?a");
  EXPECT_FALSE(tree->has(1, Attribute::style_));
}

TEST(HtmlTree, LimitsAreReasons) {
  EXPECT_EQ(HtmlTree::parse("<p>a<p>b<p>c", 4, 100).reason().code, "too_many_nodes");
  EXPECT_EQ(HtmlTree::parse("<div><div><div><div>", 100, 4).reason().code, "too_deep");
}

}  // namespace
}  // namespace tumbler::text
