#include "text/extract_patterns.h"

#include <array>
#include <cstring>
#include <string>
#include <vector>

namespace tumbler::text {
namespace {

// A pattern is letters, digits and '-', where '-' stands for any separator or none: "article-body" is found
// in "article_body", "articleBody" and "articlebody". '^' before and '$' behind bind it to the border of a
// word, '[' and ']' to the border of a whole class name; without them it is found anywhere.
struct Pattern {
  uint32_t hints;
  const char* words;  // separated by spaces
};

constexpr uint32_t kDrop = kHintBoilerplate;
constexpr Pattern kPatterns[] = {
    // --- where the text is
    {kHintArticleBody,
     "^article-body ^article-text$ ^article-content ^article-main-content ^articlecopy ^article-copy$ "
     "^article-entry$ "
     "^post-body ^post-content ^post-text$ ^post-entry$ ^post-bodycopy ^postcontent ^entry-content "
     "^entry-body ^entry-text$ "
     "^story-body ^story-content ^story-text$ ^news-body ^news-content ^news-text$ ^blog-content ^blog-text$ "
     "^blog-body$ "
     "^blog-post-content ^single-content ^text-body$ ^body-text$ ^body-copy$ ^bodycopy ^article-detail "
     "^news-detail-text "
     "^art-content ^rich-text-body ^content-article ^content-body$ ^article-inner ^article-wysiwyg "
     "^page-body-content "
     "^mw-content-text ^mw-parser-output ^markdown-body ^theiapostslider ^tdb-block-inner ^td-post-content "
     "^recipe-content"},
    {kHintArticle,
     "[article] [post] [entry] [story] [hentry] [single-post] ^single-post ^blog-post$ ^blogpost$ "
     "^news-article ^article-wrap "
     "^main-column ^maincolumn ^story$ ^article-container ^post-wrap ^post-container [blog] [news] "
     "[newsitem] "
     "^single-article ^full-story ^press-release$ ^pressrelease"},
    {kHintContent,
     "[content] ^main-content ^page-content ^maincontent ^contentmain ^content-main ^content-area$ "
     "^inner-content ^the-content$ "
     "^site-content ^content-wrap ^content-container ^body-content ^bodycontent ^text-content ^contenttext "
     "^content-text "
     "[inhalt] [contenu] [contenido] [wysiwyg] [document] [bodywrapper] [body] ^rich-text$ [text]"},
    {kHintMain, "[main ^main$ [primary] [haupt ^hauptinhalt"},

    // --- what is never text
    {kDrop | kHintNegative | kHintUnlikely,
     "sidebar side-bar ^side-col ^sidecolumn ^right-column$ ^right-col$ ^rightcol ^left-column$ ^left-col$ "
     "^leftcol breadcrumb "
     "newsletter ^subscribe ^subscription ^mailing-list ^sponsor ^promo$ ^promoted ^promotion ^advert "
     "^advertisement "
     "^ad-container ^ad-wrap ^ad-slot ^ad-unit ^ad-block ^ad-banner ^ad-label ^ads$ ^adsense ^adsbygoogle "
     "^adbox$ ^google-ad "
     "^dfp$ ^taboola ^outbrain ^werbung ^anzeige$ ^publicidad ^social$ ^socials ^social-media ^social-share "
     "^social-links "
     "^social-icons ^social-bar ^socialbar ^socialmedia sociable ^share$ ^shares$ ^sharing ^share-buttons "
     "^sharebar "
     "^share-bar ^sharethis ^sharedaddy ^shariff ^addthis ^addtoany ^a2a ^heateor ^tweet-button ^facebook$ "
     "^fb-like ^twitter$ "
     "^whatsapp$ ^pinterest$ ^linkedin$ ^jp-relatedposts ^related ^relatedposts ^similar-posts ^similar$ "
     "^recommend "
     "^recommended ^recommendation ^read-more$ ^readmore$ ^more-link$ ^morelink ^more-stories ^more-news "
     "^more-articles "
     "^more-posts ^also-read ^read-also ^you-may ^youmay ^trending ^most-read ^mostread "
     "^most-popular ^popular-posts "
     "^popular$ ^latest-posts ^latest-news ^recent-posts ^recentposts ^archive-list ^tag-cloud ^tagcloud "
     "^tags$ ^tag-list "
     "^tags-links ^taglist ^post-tags ^entry-tags ^post-categories ^cat-links ^category-list ^cookie "
     "^consent ^gdpr ^cmp$ "
     "^paywall ^login ^log-in ^signin ^sign-in$ ^signup ^sign-up$ ^register-form ^search-form ^searchform "
     "^searchbox ^search-box "
     "^search-bar ^searchbar ^modal ^popup ^pop-up ^overlay ^lightbox ^toolbar ^tool-bar ^toolbox$ ^masthead "
     "^pagination ^pager$ "
     "^paging$ ^page-nav ^page-links ^post-nav ^wp-pagenavi ^prev-next ^prevnext ^next-prev ^post-navigation "
     "^skip-link "
     "^skiplink ^skip-to ^navbar ^navheader ^navfooter ^nav$ ^navi$ ^navigation ^mainnav ^subnav ^topnav "
     "^sitenav ^menu$ ^menus$ "
     "^submenu ^mainmenu ^menubar ^menu-item ^topbar$ ^top-bar$ ^footer ^site-footer ^page-footer "
     "^pagefooter ^colophon "
     "^copyright$ ^copyrights ^imprint ^impressum$ ^disclaimer ^legal-notice ^author-box ^authorbox "
     "^author-bio ^authorbio "
     "^author-info ^author-card ^author-profile ^about-author ^about-the-author ^bio-box ^byline ^widget "
     "^widgets "
     "^print-only ^printonly ^noprint$ ^no-print$ ^print-link ^printfriendly ^rating$ ^ratings$ ^star-rating "
     "^vote$ ^votes$ "
     "^voting ^like-button ^likes$ ^feedback-form ^back-to-top ^backtotop ^scroll-top ^totop$ ^rss$ "
     "^rss-feed ^feedburner "
     "^disqus ^twitter-tweet ^carousel ^slideshow ^slider$ ^gallery$ ^flickr ^instagram ^player$ "
     "^video-player ^embed$ "
     "^embed-code ^shoutbox "
     "^blogroll ^language-switch ^lang-switch ^language-selector ^langselect ^call-to-action ^cta$ ^donate "
     "^donation ^flyout "
     "^mega-menu ^megamenu ^offcanvas ^off-canvas ^hamburger ^dropdown ^tooltip ^toast$ ^announcement-bar "
     "^vcard$ ^catlinks "
     "^mw-editsection ^editsection ^reflist-nav ^navbox ^printfooter ^site-header ^page-header-nav "
     "^sphinxsidebar ^tightmenu "
     "^searchmenu ^quickview ^jumpto ^jump-to ^ticker ^teaser-list ^crosslinks ^linklist$ "
     "^link-list$ ^linkbox ^infobox-nav "
     "^profile-card ^avatar ^gravatar ^user-info ^userinfo ^user-card ^mod-related ^teaserbox "
     "^notification-bar ^cookies "
     "^shopping-cart ^minicart ^add-to-cart ^price-box ^buy-now ^productbox ^amazon-box ^affiliate ^yarpp "
     "^zemanta ^wpcnt "
     "^sexy-bookmarks ^wp-socializer ^swp$ ^ssba$ ^crp-related ^nocomments ^service-links ^servicelinks "
     "^bookmark$ ^bookmarks$ "
     "^bottom-bar ^legal$ ^weiterlesen ^mehr-zum-thema ^teilen$ ^kommentieren ^seitenleiste ^fusszeile "
     "^verwandte"},
    {kHintDoubtful,
     "^bottom$ ^meta$ ^metadata$ ^post-meta ^entry-meta ^article-meta ^postmeta ^entrymeta ^post-info$ "
     "^postinfo ^article-info$ "
     "^articleinfo ^post-date ^entry-date ^publish-date ^published$ ^date$ ^datum$ ^timestamp ^time$ "
     "^dateline$ ^author$ ^authors$ "
     "^posted-on ^postedon ^posted-by ^postedby ^postmetadata ^post-footer ^postfooter ^entry-footer "
     "^entry-utility "
     "^article-footer ^article-header-meta ^article-tools ^caption$ ^wp-caption ^image-caption ^img-caption "
     "^credit$ ^credits$ "
     "^photo-credit ^copyright-notice ^link$ ^links$ ^quick-links ^kicker$ ^widget-title ^tag$ ^category$ "
     "^categories$ "
     "^rubrik$ ^badge$ ^button$ ^buttons$ ^btn$ ^icon$ ^icons$ ^header-image ^hero-image ^contact$ "
     "^contacts$ ^kontakt$ "
     "^contact-box ^infobox$ ^hint-box ^notice-box ^box-info ^toc-title ^post-title-nav ^reading-time "
     "^readtime ^views$ "
     "^viewcount ^print$ ^jump-link ^dropcap-nav ^location$ ^event-info ^poll$ ^quiz$ ^survey$ ^form$ "
     "^attachments$ ^downloads$ "
     "^reply$ ^replies$"},
    {kHintComments | kHintNegative | kHintUnlikely,
     "^comment$ ^comments$ ^commentlist ^comment-list ^comment-form ^comment-area ^commentsection "
     "^comment-body ^comment-content "
     "^comment-respond ^respond$ ^kommentar ^kommentare ^commentaires ^comentarios ^discussion$ ^disqus "
     "^fb-comments ^comments-area "
     "^trackback ^trackbacks ^pingback ^pingbacks ^comment-wrap ^livefyre ^commento ^isso-thread"},
    {kHintHidden,
     "[hidden] ^visually-hidden ^visuallyhidden ^sr-only ^screen-reader ^screenreader ^d-none$ [hide] "
     "^is-hidden ^display-none "
     "^displaynone ^invisible$ ^u-hidden ^element-invisible ^offscreen ^noscreen ^access-hidden "
     "^a11y-hidden"},
    {kHintTeaser, "^teaser$ ^teasers$ ^teaser-item ^teaser-text ^teaserblock"},
    {kHintPermalink,
     "^headerlink ^header-anchor ^heading-anchor ^anchor-link ^anchorlink ^permalink-anchor ^paralink "
     "^selflink ^headeranchor "
     "^linenos ^lineno$ ^linenodiv ^line-numbers-rows ^gutter$ ^line-number$ ^copybtn ^copy-button "
     "^copy-code ^genanchor "
     "^id-link ^id_link ^permalink$ ^edit-link$ ^editlink"},

    {kHintSection,
     "[sect1] [sect2] [sect3] [sect4] [sect5] [refsect1] [refsect2] [refsect3] [refsynopsisdiv] [refentry] "
     "[chapter] [appendix] "
     "[preface] [glossary]"},

    // --- readability's words
    {kHintUnlikely,
     "combx ^comment community disqus ^extra foot ^header ^menu remark ^rss sponsor ad-break agegate paginat "
     "popup "
     "^tweet ^twitter"},
    {kHintMaybe, "^and$ article body column main shadow ^content"},
    {kHintPositive, "article body content entry hentry main page paginat post text blog story"},
    {kHintNegative,
     "combx com- contact foot footnote masthead media meta outbrain promo related scroll shoutbox sponsor "
     "shopping "
     "tags tool"},
};

struct CompiledPattern {
  std::string text;  // without separators
  uint32_t hints = 0;
  bool word_start = false, word_end = false, name_start = false, name_end = false;
};

constexpr bool is_separator(char c) {
  return c == '-' || c == '_' || c == ':' || c == '.' || c == '/';
}
constexpr int symbol(char c) {
  return c >= 'a' && c <= 'z' ? c - 'a' : c >= '0' && c <= '9' ? 26 + (c - '0') : -1;
}

// Patterns by their first two symbols: at each position of a name only the few that can begin there are
// compared.
struct PatternTable {
  std::array<std::vector<CompiledPattern>, 36 * 36> by_start;

  PatternTable() {
    for (const Pattern& pattern : kPatterns) {
      std::string_view rest = pattern.words;
      while (!rest.empty()) {
        const std::string_view word = rest.substr(0, rest.find(' '));
        rest.remove_prefix(std::min(word.size() + 1, rest.size()));
        if (!word.empty()) add(word, pattern.hints);
      }
    }
  }

  void add(std::string_view word, uint32_t hints) {
    CompiledPattern compiled;
    compiled.hints = hints;
    for (char c : word) {
      if (c == '^')
        compiled.word_start = true;
      else if (c == '$')
        compiled.word_end = true;
      else if (c == '[')
        compiled.name_start = true;
      else if (c == ']')
        compiled.name_end = true;
      else if (!is_separator(c))
        compiled.text += c;
    }
    const int start = symbol(compiled.text[0]) * 36 + symbol(compiled.text[1]);
    by_start[static_cast<size_t>(start)].push_back(std::move(compiled));
  }
};

// A name without its separators, and where words and whole names begin and end in it.
struct SplitName {
  static constexpr size_t kMax = 512;  // longer attributes are not read further
  enum : uint8_t { kWordStart = 1, kNameStart = 2 };
  size_t size = 0;
  std::array<char, kMax + 1> text;
  std::array<uint8_t, kMax + 1> border;  // of the position between text[i-1] and text[i]

  explicit SplitName(std::string_view name) {
    uint8_t pending = kWordStart | kNameStart;
    char previous = ' ';
    for (char c : name) {
      if (size == kMax) break;
      const bool upper = c >= 'A' && c <= 'Z', digit = c >= '0' && c <= '9';
      const bool after_small = previous >= 'a' && previous <= 'z';
      if (c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == '\f') {
        pending = kWordStart | kNameStart;
      } else if (!upper && symbol(c) < 0) {
        pending |= kWordStart;
      } else {
        if (after_small && (upper || digit)) pending |= kWordStart;
        push(upper ? static_cast<char>(c + 32) : c, pending);
      }
      previous = c;
    }
    border[size] = kWordStart | kNameStart;
  }

  void push(char c, uint8_t& pending) {
    text[size] = c;
    border[size++] = pending;
    pending = 0;
  }
};

}  // namespace

uint32_t find_hints(std::string_view class_or_id) noexcept {
  static const PatternTable table;
  if (class_or_id.size() < 2) return 0;
  const SplitName name(class_or_id);
  uint32_t hints = 0;
  size_t word = 0;      // where the present word begins
  size_t name_end = 0;  // no pattern reaches into the next class name
  bool negated =
      false;  // "no-sidebar", "has-comments", "with-ads" say something about the page, not the element
  for (size_t i = 0; i + 1 < name.size; ++i) {
    if (name.border[i] & SplitName::kNameStart) {
      negated = false;
      for (name_end = i + 1; !(name.border[name_end] & SplitName::kNameStart);) ++name_end;
    }
    if ((name.border[i] & SplitName::kWordStart) && i > 0 && !(name.border[i] & SplitName::kNameStart)) {
      const std::string_view before(name.text.data() + word, i - word);
      if (before == "no" || before == "has" || before == "with" || before == "without") negated = true;
    }
    if (name.border[i] & SplitName::kWordStart) word = i;
    if (negated) continue;
    const int start = symbol(name.text[i]) * 36 + symbol(name.text[i + 1]);
    for (const CompiledPattern& pattern : table.by_start[static_cast<size_t>(start)]) {
      const size_t end = i + pattern.text.size();
      if (end > name_end || std::memcmp(name.text.data() + i, pattern.text.data(), pattern.text.size()) != 0)
        continue;
      if (pattern.word_start && !(name.border[i] & SplitName::kWordStart)) continue;
      if (pattern.word_end && !(name.border[end] & SplitName::kWordStart)) continue;
      if (pattern.name_start && !(name.border[i] & SplitName::kNameStart)) continue;
      if (pattern.name_end && !(name.border[end] & SplitName::kNameStart)) continue;
      hints |= pattern.hints;
    }
  }
  return hints;
}

}  // namespace tumbler::text
