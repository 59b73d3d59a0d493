// FTS5's view of search_text.h: the tokenizer "grams".
#pragma once

struct sqlite3;

namespace tumbler::chat {

// Makes "grams" known to a connection. Texts of an index become their grams; a string of a query is one gram
// as it stands, folded before (SearchQuery::fts5). Throws Error where SQLite is without FTS5.
void add_search_tokenizer(sqlite3* database);

}  // namespace tumbler::chat
