// SPDX-License-Identifier: Apache-2.0
// sqlite3_db_config takes its arguments as C variables do: by kind of setting.
#pragma once
#include <sqlite3.h>

/// Whether closing the last connection leaves the write-ahead log as it is. A result code.
static inline int lifeboat_sqlite_set_no_checkpoint_on_close(sqlite3 *database, int enabled) {
    return sqlite3_db_config(database, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, enabled, (int *)0);
}

/// Lets a database be read whose schema this SQLite does not understand in part: those objects are left out, nothing is
/// written. Returns a result code.
static inline int lifeboat_sqlite_read_unknown_schema(sqlite3 *database) {
    int status = sqlite3_db_config(database, SQLITE_DBCONFIG_DEFENSIVE, 0, (int *)0);
    return status != SQLITE_OK ? status : sqlite3_db_config(database, SQLITE_DBCONFIG_WRITABLE_SCHEMA, 1, (int *)0);
}

/// Refuses SQL that could write to internals, and functions and tables a foreign schema calls. A result code.
static inline int lifeboat_sqlite_distrust_schema(sqlite3 *database) {
    int status = sqlite3_db_config(database, SQLITE_DBCONFIG_DEFENSIVE, 1, (int *)0);
    return status != SQLITE_OK ? status : sqlite3_db_config(database, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, (int *)0);
}
