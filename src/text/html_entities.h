// The standard's table of named character references, generated once from its text; find_entity() in
// html_tree.h reads it.
#pragma once

namespace tumbler::text {

extern const char* const kHtmlEntities;  // "Aacute=C1 Abreve=102 …", sorted, each valid with a semicolon
extern const char* const kHtmlLegacyEntities;  // "AElig AMP …", those that are also valid without one

}  // namespace tumbler::text
