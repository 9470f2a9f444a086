/* libpq, loaded when the first PostgreSQL database is opened: a daemon on SQLite does not carry it, nor the dozen
 * libraries behind it. Include this instead of <libpq-fe.h>, call lw_pq_load() before anything else. For sql_*.c only.
 */
#pragma once

#include <libpq-fe.h>

#include "common/base/err.h"

#define LW_PQ_FUNCTIONS(X)                                                                                             \
	X(PQclear)                                                                                                     \
	X(PQcmdTuples)                                                                                                 \
	X(PQconnectPoll)                                                                                               \
	X(PQconnectStartParams)                                                                                        \
	X(PQconnectdbParams)                                                                                           \
	X(PQconninfoFree)                                                                                              \
	X(PQconninfoParse)                                                                                             \
	X(PQconsumeInput)                                                                                              \
	X(PQenterPipelineMode)                                                                                         \
	X(PQerrorMessage)                                                                                              \
	X(PQexec)                                                                                                      \
	X(PQfinish)                                                                                                    \
	X(PQflush)                                                                                                     \
	X(PQfreemem)                                                                                                   \
	X(PQftype)                                                                                                     \
	X(PQgetResult)                                                                                                 \
	X(PQgetisnull)                                                                                                 \
	X(PQgetlength)                                                                                                 \
	X(PQgetvalue)                                                                                                  \
	X(PQisBusy)                                                                                                    \
	X(PQnfields)                                                                                                   \
	X(PQntuples)                                                                                                   \
	X(PQpipelineSync)                                                                                              \
	X(PQresultErrorField)                                                                                          \
	X(PQresultErrorMessage)                                                                                        \
	X(PQresultStatus)                                                                                              \
	X(PQsendPrepare)                                                                                               \
	X(PQsendQueryParams)                                                                                           \
	X(PQsendQueryPrepared)                                                                                         \
	X(PQsetNoticeReceiver)                                                                                         \
	X(PQsetnonblocking)                                                                                            \
	X(PQsocket)                                                                                                    \
	X(PQstatus)

struct lw_pq {
#define X(f) __typeof__(&f) f;
	LW_PQ_FUNCTIONS(X)
#undef X
};

extern struct lw_pq lw_pq;

/* 0, or LW_EUNSUPPORTED with diag when the library is not installed. Safe to call again, and from any thread. */
int lw_pq_load(struct lw_diag *diag);

#ifndef LW_PQ_NO_NAMES
#define PQclear lw_pq.PQclear
#define PQcmdTuples lw_pq.PQcmdTuples
#define PQconnectPoll lw_pq.PQconnectPoll
#define PQconnectStartParams lw_pq.PQconnectStartParams
#define PQconnectdbParams lw_pq.PQconnectdbParams
#define PQconninfoFree lw_pq.PQconninfoFree
#define PQconninfoParse lw_pq.PQconninfoParse
#define PQconsumeInput lw_pq.PQconsumeInput
#define PQenterPipelineMode lw_pq.PQenterPipelineMode
#define PQerrorMessage lw_pq.PQerrorMessage
#define PQexec lw_pq.PQexec
#define PQfinish lw_pq.PQfinish
#define PQflush lw_pq.PQflush
#define PQfreemem lw_pq.PQfreemem
#define PQftype lw_pq.PQftype
#define PQgetResult lw_pq.PQgetResult
#define PQgetisnull lw_pq.PQgetisnull
#define PQgetlength lw_pq.PQgetlength
#define PQgetvalue lw_pq.PQgetvalue
#define PQisBusy lw_pq.PQisBusy
#define PQnfields lw_pq.PQnfields
#define PQntuples lw_pq.PQntuples
#define PQpipelineSync lw_pq.PQpipelineSync
#define PQresultErrorField lw_pq.PQresultErrorField
#define PQresultErrorMessage lw_pq.PQresultErrorMessage
#define PQresultStatus lw_pq.PQresultStatus
#define PQsendPrepare lw_pq.PQsendPrepare
#define PQsendQueryParams lw_pq.PQsendQueryParams
#define PQsendQueryPrepared lw_pq.PQsendQueryPrepared
#define PQsetNoticeReceiver lw_pq.PQsetNoticeReceiver
#define PQsetnonblocking lw_pq.PQsetnonblocking
#define PQsocket lw_pq.PQsocket
#define PQstatus lw_pq.PQstatus
#endif
