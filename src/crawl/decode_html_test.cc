#include <fstream>

#include <gtest/gtest.h>

#include "crawl/encoding.h"
#include "crawl/test_files.h"
#include "crawl/warc.h"

namespace tumbler::crawl {
namespace {

std::string decode(std::string_view bytes, std::string_view type = "text/html") {
  const Result<std::string> text = decode_html(bytes, type);
  return text ? *text : "!" + text.reason().code;
}

const std::string kRussian =
    "Это обычный русский текст, который написан для проверки: мы читаем страницы в старых кодировках и "
    "ничего не теряем.";
const std::string kJapanese =
    "これは文字コードの判定を試すための日本語の文章です。古いページでも正しく読めなければなりません。";

std::string utf16(std::string_view ascii, bool little) {
  std::string out;
  for (const char c : ascii) out += little ? std::string{c, '\0'} : std::string{'\0', c};
  return out;
}

TEST(DecodeHtml, Utf8AndByteOrderMarks) {
  EXPECT_EQ(decode("<p>naïve 日本"), "<p>naïve 日本");
  EXPECT_EQ(decode(""), "");
  EXPECT_EQ(decode("\xef\xbb\xbf<p>x"), "<p>x");
  EXPECT_EQ(decode("\xff\xfe" + utf16("<p>hello", true)), "<p>hello");
  EXPECT_EQ(decode("\xfe\xff" + utf16("<p>hello", false)), "<p>hello");
  EXPECT_EQ(decode(utf16("<p>hello there", true)), "<p>hello there");  // no mark at all
  EXPECT_EQ(decode(utf16("<p>hello there", false), "text/html; charset=utf-16"), "<p>hello there");
}

TEST(DecodeHtml, HttpCharset) {
  EXPECT_EQ(decode("<p>caf\xe9 \x93quoted\x94 \x80", "text/html; charset=ISO-8859-1"),
            "<p>café “quoted” €");  // windows-1252 by WHATWG
  EXPECT_EQ(decode("<p>\xf0\xd2\xc9\xd7\xc5\xd4", "text/html;charset=\"koi8-r\""), "<p>Привет");
  EXPECT_EQ(decode("<p>\x93\xfa\x96\x7b", "text/html; charset=Shift_JIS"), "<p>日本");
  EXPECT_EQ(decode("<p>\xc6\xfc\xcb\xdc", "text/html; charset=EUC-JP"), "<p>日本");
  EXPECT_EQ(decode("<p>\x1b$BF|K\\\x1b(B", "text/html; charset=iso-2022-jp"), "<p>日本");
  EXPECT_EQ(decode("<p>\xd6\xd0\xce\xc4", "text/html; charset=gb2312"), "<p>中文");
  EXPECT_EQ(decode("<p>\xa4\xa4\xa4\xe5", "text/html; charset=big5"), "<p>中文");
  EXPECT_EQ(decode("<p>\xc7\xd1\xb1\xb9", "text/html; charset=ks_c_5601-1987"), "<p>한국");
}

TEST(DecodeHtml, MetaCharsetAndPrecedence) {
  EXPECT_EQ(decode("<meta charset=windows-1251><p>\xcf\xf0\xe8\xe2\xe5\xf2"),
            "<meta charset=windows-1251><p>Привет");
  EXPECT_EQ(decode("<meta http-equiv=Content-Type content='text/html; charset=koi8-r'>\xf0\xd2"),
            "<meta http-equiv=Content-Type content='text/html; charset=koi8-r'>Пр");
  EXPECT_EQ(decode("<?xml version='1.0' encoding='iso-8859-2'?><p>\xb3"),
            "<?xml version='1.0' encoding='iso-8859-2'?><p>ł");
  // HTTP goes before <meta>.
  EXPECT_EQ(decode("<meta charset=koi8-r>\xcf\xf0", "text/html; charset=windows-1251"),
            "<meta charset=koi8-r>Пр");
}

TEST(DecodeHtml, WrongLabels) {
  EXPECT_EQ(decode("<p>" + kRussian, "text/html; charset=iso-8859-1"), "<p>" + kRussian);
  EXPECT_EQ(decode("<meta charset=shift_jis><p>" + kRussian), "<meta charset=shift_jis><p>" + kRussian);
  const std::string sjis_label = decode("<p>\x93\xfa\x96\x7b", "text/html; charset=utf-16");
  EXPECT_EQ(sjis_label.find('\0'), std::string::npos);
  EXPECT_EQ(decode("plain ASCII", "text/html; charset=no-such-thing"), "plain ASCII");
}

TEST(DecodeHtml, DetectsWithoutLabel) {
  for (const std::string_view encoding : {"windows-1251", "KOI8-R"}) {
    std::string bytes;
    for (int c = 128; c < 256; ++c) {  // the table backwards, from our own decoder
      const std::string one(1, static_cast<char>(c));
      const auto decoded = convert_to_utf8(one, encoding);
      ASSERT_TRUE(decoded);
      bytes += decoded->text + '\n';
    }
    std::string text;
    for (size_t i = 0; i < kRussian.size();) {
      const size_t length = (kRussian[i] & 0x80) == 0 ? 1 : 2;
      const std::string letter = kRussian.substr(i, length);
      i += length;
      if (length == 1) {
        text += letter;
        continue;
      }
      for (int c = 128; c < 256; ++c)
        if (convert_to_utf8(std::string(1, static_cast<char>(c)), encoding)->text == letter)
          text += static_cast<char>(c);
    }
    EXPECT_EQ(decode("<p>" + text), "<p>" + kRussian) << encoding;
    EXPECT_EQ(decode("<p>" + text, "text/html; charset=utf-8"), "<p>" + kRussian)
        << encoding;  // a wrong label that shows itself
  }
}

TEST(DecodeHtml, NearlyUtf8IsRepaired) {
  EXPECT_EQ(decode("<p>" + kJapanese + "\xe6\x97"),
            "<p>" + kJapanese + "\xef\xbf\xbd");  // cut off in a character
  EXPECT_EQ(decode("<p>" + kJapanese + " \xe9 " + kJapanese),
            "<p>" + kJapanese + " \xef\xbf\xbd " + kJapanese);
}

TEST(DecodeHtml, FallsBackToWindows1252) {
  EXPECT_EQ(decode("<p>d\xe9j\xe0 vu"), "<p>déjà vu");
}

TEST(DecodeHtml, NulIsRemoved) {
  EXPECT_EQ(decode(std::string("<p>a\0b and more of it, so that it is no UTF-16", 46)),
            "<p>ab and more of it, so that it is no UTF-16");
}

TEST(DecodeHtml, BinaryIsUndecodable) {
  std::string png("\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 16);
  for (int i = 0; i < 4000; ++i) png.push_back(static_cast<char>((i * 7919) >> 3));
  EXPECT_EQ(decode(png), "!undecodable");
}

TEST(DecodeHtml, RepairsByMaximalSubparts) {  // Unicode 15, table 3-8
  const Repaired repaired = repair_utf8("\xe1\x80\xe2\xf0\x91\x92\xf1\xbf\x41");
  EXPECT_EQ(repaired.text, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\x41");
  EXPECT_EQ(repaired.errors, 4);
  EXPECT_EQ(repair_utf8("\xed\xa0\x80").errors, 3);  // a surrogate
  EXPECT_EQ(repair_utf8("\xf0\x9f\x98\x80").multibyte, 1);
}

TEST(DecodeHtml, ConvertsAcrossBufferEnds) {
  std::string bytes, expected;
  for (int i = 0; i < 20000; ++i) {
    bytes += std::string("\x3d\xd8\x00\xde", 4);  // U+1F600 in UTF-16LE
    expected += "\xf0\x9f\x98\x80";
  }
  for (const size_t lead : {0, 1}) {
    const auto decoded = convert_to_utf8((lead == 1 ? std::string("a\0", 2) : "") + bytes, "UTF-16LE");
    ASSERT_TRUE(decoded);
    EXPECT_EQ(decoded->text, (lead == 1 ? "a" : "") + expected);
  }
}

TEST(DecodeHtml, EveryLabelledEncodingIsThere) {
  for (const char* label :
       {"ibm866", "l2",      "latin3",          "latin4",      "cyrillic",    "arabic",     "greek",
        "hebrew", "logical", "latin6",          "iso-8859-13", "iso-8859-14", "l9",         "koi8-u",
        "mac",    "tis-620", "cp1250",          "cp1253",      "latin5",      "cp1255",     "cp1256",
        "cp1257", "cp1258",  "x-mac-ukrainian", "gb18030",     "euc-kr",      "big5-hkscs", "utf-16be"}) {
    const std::string_view name = find_encoding(label);
    EXPECT_FALSE(name.empty()) << label;
    EXPECT_TRUE(convert_to_utf8("a\0b", name)) << label;
  }
  EXPECT_TRUE(find_encoding("utf-7").empty());
  EXPECT_TRUE(find_encoding("").empty());
}

// html5lib's table of pages and encodings; windows-1252 stands for "no label". Its tests of documents whose
// encoding only a parser could find (a <meta> after the prescan's end, in scripts) are the few that differ.
TEST(DecodeHtmlData, PrescanAsHtml5lib) {
  if (test::test_data("html5lib-tests").empty()) GTEST_SKIP() << "no real data: set TUMBLER_TEST_DATA";
  int total = 0, same = 0;
  for (const char* file : {"html5lib-tests/encoding/tests1.dat", "html5lib-tests/encoding/tests2.dat"}) {
    std::ifstream in(test::test_data(file), std::ios::binary);
    std::string line, data, *into = nullptr;
    bool expect = false;
    while (std::getline(in, line)) {
      if (line == "#data") {
        data.clear();
        into = &data;
      } else if (line == "#encoding") {
        into = nullptr;
        expect = true;
      } else if (expect) {
        expect = false;
        ++total;
        const std::string_view found = prescan_meta(data), wanted = find_encoding(line);
        same += (found.empty() ? "windows-1252" : found) == (wanted.empty() ? line : wanted);
      } else if (into != nullptr) {
        *into += line + "\n";
      }
    }
  }
  EXPECT_GT(total, 60);
  EXPECT_GE(same, total - 6) << same << " of " << total;
}

}  // namespace
}  // namespace tumbler::crawl
