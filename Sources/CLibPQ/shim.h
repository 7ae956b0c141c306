// SPDX-License-Identifier: Apache-2.0
// libpq's constants that are character macros, and a notice receiver without a result to leak.
#pragma once
#include <libpq-fe.h>

static inline const char *lifeboat_pq_severity(const PGresult *result) {
    const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    return severity != NULL ? severity : PQresultErrorField(result, PG_DIAG_SEVERITY);
}

static inline const char *lifeboat_pq_sqlstate(const PGresult *result) {
    return PQresultErrorField(result, PG_DIAG_SQLSTATE);
}

static inline const char *lifeboat_pq_primary(const PGresult *result) {
    return PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
}

static inline const char *lifeboat_pq_detail(const PGresult *result) {
    return PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
}

static inline const char *lifeboat_pq_hint(const PGresult *result) {
    return PQresultErrorField(result, PG_DIAG_MESSAGE_HINT);
}
