// The tables of chats.db.
#pragma once

#include "chat/store/sqlite.h"

namespace tumbler::chat {

// Brings a database up to date, from nothing on. Throws Error where it is another program's, or of a newer
// version of this one.
void migrate(Database& database);

}  // namespace tumbler::chat
