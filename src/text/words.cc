#include "text/words.h"

#include <algorithm>
#include <array>
#include <string>

#include "text/code_points.h"

namespace tumbler::text {
namespace {

using namespace std::string_view_literals;

// Abbreviations that seldom end a sentence: titles, companies, months and days, states, places. Sorted.
constexpr std::array kAbbreviations = std::to_array<std::string_view>(
    {"adm",  "ala", "apr",  "ariz", "aug", "ave", "bros",   "calif", "cie",  "co",   "col", "colo", "conn",
     "corp", "cos", "dec",  "dr",   "feb", "fla", "fri",    "ft",    "ga",   "gen",  "ill", "inc",  "jan",
     "jr",   "kan", "ky",   "lt",   "ltd", "maj", "messrs", "mg",    "mich", "minn", "mr",  "mrs",  "ms",
     "nev",  "nov", "oct",  "okla", "ore", "pa",  "prof",   "rep",   "reps", "sen",  "sep", "sept", "sr",
     "st",   "sw",  "tenn", "tues", "va",  "vs",  "vt",     "wash",  "wed",  "wis",  "yr"});
static_assert(std::is_sorted(kAbbreviations.begin(), kAbbreviations.end()));

// Words that start sentences more often than they follow an abbreviation. Sorted.
constexpr std::array kStarters = std::to_array<std::string_view>(
    {"A",     "After", "Although", "And",  "As",  "At",    "But",  "For",   "He",   "However", "I",
     "If",    "In",    "It",       "Its",  "She", "Since", "So",   "Some",  "That", "The",     "Their",
     "There", "These", "They",     "This", "We",  "What",  "When", "While", "With", "You"});
static_assert(std::is_sorted(kStarters.begin(), kStarters.end()));

bool is_word_byte(unsigned char c) {
  return c >= 0x80 || (kAsciiClasses[c] & (kAlpha | kDigit)) != 0 || c == '_';
}

// The letters and inner periods before a final period, in lower case, at most 16 bytes; longer ones are no
// abbreviation.
std::string_view lower_stem(std::string_view token, std::array<char, 16>& buffer) {
  token.remove_suffix(1);
  if (token.size() > buffer.size()) return {};
  for (size_t i = 0; i < token.size(); ++i)
    buffer[i] = token[i] >= 'A' && token[i] <= 'Z' ? static_cast<char>(token[i] + 32) : token[i];
  return {buffer.data(), token.size()};
}

// Single letters and letters between periods: "J", "u.s", "ph.d".
bool is_initials(std::string_view stem) {
  if (stem.size() == 1) return stem[0] >= 'a' && stem[0] <= 'z' && stem[0] != 'i' && stem[0] != 'a';
  if (stem == "ph.d") return true;
  for (size_t i = 0; i < stem.size(); ++i)
    if (i % 2 == 0 ? (stem[i] < 'a' || stem[i] > 'z') : stem[i] != '.') return false;
  return stem.size() % 2 == 1 && stem != "e.g" && stem != "i.e";
}

bool is_number(std::string_view token) {
  bool digit = false;
  for (const char c : token) {
    digit |= c >= '0' && c <= '9';
    if ((c < '0' || c > '9') && c != ',' && c != '-' && c != '.') return false;
  }
  return digit;
}

std::string_view first_word(std::string_view next) {
  size_t begin = 0;
  while (begin < next.size() && !is_word_byte(static_cast<unsigned char>(next[begin]))) ++begin;
  size_t end = begin;
  while (end < next.size() && is_word_byte(static_cast<unsigned char>(next[end]))) ++end;
  return next.substr(begin, end - begin);
}

}  // namespace

bool detail::period_ends_sentence(std::string_view token, std::string_view next) {
  while (!token.empty() && token.size() > 1 && !is_word_byte(static_cast<unsigned char>(token.front())) &&
         token.front() != '.')
    token.remove_prefix(1);
  if (token.size() < 2) return true;
  const std::string_view word = first_word(next);
  const bool lower_next = !word.empty() && word[0] >= 'a' && word[0] <= 'z';
  if (is_number(token.substr(0, token.size() - 1))) return !lower_next;
  std::array<char, 16> buffer;
  const std::string_view stem = lower_stem(token, buffer);
  if (stem.empty()) return true;
  const bool initials = is_initials(stem);
  if (!initials && !std::binary_search(kAbbreviations.begin(), kAbbreviations.end(), stem)) return true;
  if (initials && stem.size() == 1) return false;
  return std::binary_search(kStarters.begin(), kStarters.end(), word);
}

void split_words(std::string_view text, WordStyle style, std::vector<Word>& out) {
  out.clear();
  style == WordStyle::kNltk ? detail::split_words_nltk(text, out) : detail::split_words_spacy(text, out);
}

int64_t count_sentences(std::string_view line, WordStyle style) {
  return style == WordStyle::kNltk ? detail::count_sentences_nltk(line) : detail::count_sentences_spacy(line);
}

}  // namespace tumbler::text
