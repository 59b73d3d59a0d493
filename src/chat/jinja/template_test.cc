// What a template may not do, and how it is told.
#include "chat/jinja/template.h"

#include <string>

#include <gtest/gtest.h>

#include "base/error.h"

namespace tumbler::jinja {
namespace {

std::string render(const std::string& source, const Limits& limits = {}) {
  return Template::parse(source).render({{"s", Value("abc")}, {"n", Value(int64_t{3})}}, {}, limits).bytes;
}

std::string error_of(const std::string& source, const Limits& limits = {}) {
  try {
    return "no error: " + render(source, limits);
  } catch (const Error& e) {
    return e.what();
  }
}

std::string repeat(const std::string& what, int count) {
  std::string out;
  for (int i = 0; i < count; ++i) out += what;
  return out;
}

TEST(Template, ErrorsNameTheLine) {
  EXPECT_EQ(error_of("a\nb {{ raise_exception('no tools') }}"),
            "[chat_template] line 2: the template refuses: no tools");
  EXPECT_EQ(error_of("\n\n{{ nothing.more }}"),
            "[chat_template] line 3: 'nothing' is undefined, so it has no attribute 'more'");
  EXPECT_EQ(error_of("{% if 1 %}\n"),
            "[chat_template] line 1: got the end of the template, expected 'endif'");
  EXPECT_NE(error_of("\n{% include 'x' %}").find("line 2: got the statement 'include'"), std::string::npos);
  EXPECT_NE(error_of("{{ s | shout }}").find("no filter named 'shout'"), std::string::npos);
}

// CVE-2024-34359, CVE-2026-5760: templates that ran Python.
TEST(Template, NoAttributeLeadsOut) {
  for (const char* name :
       {"__class__", "__init__", "__globals__", "__mro__", "__subclasses__", "func_globals"})
    for (const std::string object : {"s", "n", "[]", "{}", "s.strip", "range", "namespace()"}) {
      const std::string access = object + "." + name;
      EXPECT_EQ(render("{{ " + access + " }}"), "") << access;
      EXPECT_NE(error_of("{{ " + access + "() }}").find("cannot be called"), std::string::npos) << access;
    }
  EXPECT_NE(error_of("{{ [].append(1) }}").find("may not call 'append'"), std::string::npos);
  EXPECT_NE(error_of("{% set s.x = 1 %}").find("only a namespace can be changed"), std::string::npos);
}

TEST(Template, WorkIsBounded) {
  Limits limits;
  limits.steps = 100'000;
  EXPECT_NE(error_of("{% for a in range(1000) %}{% for b in range(1000) %}{% endfor %}{% endfor %}", limits)
                .find("steps"),
            std::string::npos);
  EXPECT_NE(error_of("{{ range(100001) }}").find("range()"), std::string::npos);
  EXPECT_NE(error_of("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}").find("nested deeper"),
            std::string::npos);
}

TEST(Template, MemoryIsBounded) {
  Limits limits;
  limits.bytes = 1 << 24;
  limits.steps = 1'000'000;
  for (const std::string grow :
       {"ns.x + ns.x", "ns.x ~ ns.x", "ns.x * 1000", "ns.x | replace('a', ns.x)", "[ns.x, ns.x]",
        "ns.x ~ [ns.x]", "(ns.x ~ '') | list", "ns.x | string | indent(10000000)",
        "ns.x ~ ('%10000s' % ns.x)", "ns.x ~ '{:>10000}'.format('a')",
        "ns.x ~ [ns.x, ns.x] | tojson(indent=1000)", "{'a': ns.x, 'b': ns.x}"}) {
    const std::string error =
        error_of("{% set ns = namespace(x='aa') %}{% for i in range(100000) %}{% set ns.x = " + grow +
                     " %}{% endfor %}",
                 limits);
    EXPECT_TRUE(error.find("without bound") != std::string::npos ||
                error.find("deeper") != std::string::npos || error.find("steps") != std::string::npos ||
                error.find("prints as more") != std::string::npos)
        << grow << ": " << error;
  }
  EXPECT_NE(error_of("{{ 'a' * 9000000000000000000 }}").find("without bound"), std::string::npos);
  EXPECT_NE(error_of("{{ 'a'.center(9000000000000000000) }}").find("without bound"), std::string::npos);
}

TEST(Template, OutputIsBounded) {
  Limits limits;
  limits.output_bytes = 100;
  EXPECT_EQ(render("{% for i in range(10) %}0123456789{% endfor %}", limits).size(), 100u);
  EXPECT_NE(error_of("{% for i in range(11) %}0123456789{% endfor %}", limits).find("of output"),
            std::string::npos);
}

// Each of these would take a naive parser, interpreter or destructor deep into its stack.
TEST(Template, DepthIsBounded) {
  for (const char* part : {"(", "[", "{", "not ", "-", "{{ [", "a if b else ", "(((", "x[", "x("})
    EXPECT_NE(error_of("{{ " + repeat(part, 50'000)).find("line 1"), std::string::npos) << part;
  EXPECT_NE(error_of(repeat("{% if 1 %}", 10'000)).find("deeper"), std::string::npos);
  EXPECT_NE(error_of("{{ s" + repeat(".a", 10'000) + " }}").find("deeper"), std::string::npos);
  EXPECT_NE(error_of("{{ s" + repeat("|trim", 10'000) + " }}").find("deeper"), std::string::npos);
  EXPECT_EQ(render("{{ 1" + repeat(" + 1", 10'000) + " }}"), "10001");
  EXPECT_EQ(render("{% if 0 %}" + repeat("{% elif 0 %}", 10'000) + "{% else %}x{% endif %}"), "x");
  const std::string chain = "{% set ns = namespace() %}{% for i in range(100000) %}";
  EXPECT_EQ(render(chain + "{% set ns = namespace(x=ns) %}{% endfor %}"), "");
  EXPECT_EQ(render("{% set a = namespace() %}" + std::string("{% for i in range(90000) %}") +
                   "{% set b = namespace(x=a.x) %}{% set a.x = b %}{% endfor %}"),
            "");
}

TEST(Template, NamespaceThatHoldsItselfIsFreed) {
  EXPECT_EQ(render("{% set ns = namespace() %}{% set ns.me = ns %}{% macro m() %}{{ n }}{% endmacro %}"
                   "{% set ns.m = m %}{{ ns.me.me.m() }}"),
            "3");
}

TEST(Template, IntegersDoNotOverflow) {
  EXPECT_NE(error_of("{{ 9223372036854775807 + 1 }}").find("64 bits"), std::string::npos);
  EXPECT_NE(error_of("{{ 3 ** 100 }}").find("64 bits"), std::string::npos);
  EXPECT_NE(error_of("{{ (-9223372036854775807 - 1) // -1 }}").find("64 bits"), std::string::npos);
  EXPECT_NE(error_of("{{ -(-9223372036854775807 - 1) }}").find("64 bits"), std::string::npos);
  EXPECT_EQ(
      render("{{ (-9223372036854775807 - 1) % -1 }} {{ s[-9223372036854775807 - 1:9223372036854775807:2] }} "
             "{{ [1,2,3][::-9223372036854775807 - 1] }} {{ 2 ** 62 }}"),
      "0 ac [3] 4611686018427387904");
}

TEST(Template, MarksFollowTheText) {
  const auto out = [](const std::string& source) {
    const Text text = Template::parse(source).render({{"u", Value(Text(" Xyx ", true))}}, {});
    std::string marked;
    for (size_t i = 0; i < text.bytes.size(); ++i) {
      bool outside = false;
      for (const Range& r : text.input) outside |= i >= r.begin && i < r.end;
      marked += outside ? text.bytes[i] : '.';
    }
    return marked;
  };
  EXPECT_EQ(out("a{{ 'b' + u.strip() + 'c' }}"), "..Xyx.");
  EXPECT_EQ(out("{{ ('b' ~ u).split('X')[1] }}-{{ u[1:2] }}"), "yx .X");
  EXPECT_EQ(out("{{ u.replace('y', 'lo') }}|{{ 'aba'.replace('b', u) }}"), " X..x .. Xyx .");
  EXPECT_EQ(out("{{ u | upper }}{{ ['a', u] | join('-') }}"), " XYX .. Xyx ");
  EXPECT_EQ(out("{{ {'k': u} | tojson }}"), "......\" Xyx \".");
  EXPECT_EQ(out("{{ '%s:%s' % ('a', u) }}{{ '{}'.format(u) }}"), ".. Xyx  Xyx ");
  EXPECT_EQ(out("{% set x %}a{{ u }}{% endset %}{{ x | trim }}"), ". Xyx");
}

}  // namespace
}  // namespace tumbler::jinja
