#include "chat/store/search_tokenizer.h"

#include <new>

#include <sqlite3.h>

#include "base/error.h"
#include "chat/store/search_text.h"

namespace tumbler::chat {
namespace {

int create(void*, const char**, int, Fts5Tokenizer** out) {
  static char none = 0;  // it has no state, but SQLite wants an address
  *out = reinterpret_cast<Fts5Tokenizer*>(&none);
  return SQLITE_OK;
}

void destroy(Fts5Tokenizer*) {}

int tokenize(Fts5Tokenizer*, void* context, int flags, const char* text, int size,
             int (*use)(void*, int, const char*, int, int, int)) {
  if ((flags & FTS5_TOKENIZE_QUERY) != 0) return use(context, 0, text, size, 0, size);
  try {
    int status = SQLITE_OK;
    const FoldedText folded = fold_text({text, static_cast<size_t>(size)});
    for_grams(folded, [&](std::string_view gram) {
      if (status == SQLITE_OK) status = use(context, 0, gram.data(), static_cast<int>(gram.size()), 0, size);
    });
    return status;
  } catch (const std::bad_alloc&) {
    return SQLITE_NOMEM;
  }
}

}  // namespace

// https://www.sqlite.org/fts5.html, section 7.
void add_search_tokenizer(sqlite3* database) {
  fts5_api* api = nullptr;
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v2(database, "SELECT fts5(?)", -1, &statement, nullptr) == SQLITE_OK) {
    sqlite3_bind_pointer(statement, 1, static_cast<void*>(&api), "fts5_api_ptr", nullptr);
    sqlite3_step(statement);
  }
  sqlite3_finalize(statement);
  fts5_tokenizer tokenizer = {create, destroy, tokenize};
  if (api == nullptr || api->xCreateTokenizer(api, "grams", nullptr, &tokenizer, nullptr) != SQLITE_OK)
    throw Error("chats", "SQLite {} is without FTS5, which searching chats needs", sqlite3_libversion());
}

}  // namespace tumbler::chat
