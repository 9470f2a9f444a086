/* How alike two short texts are, for the order of search results. Pure. */
#pragma once

/* Share of common three-letter pieces of both texts' words (0..1), ASCII case ignored. */
float as_similarity(const char *a, const char *b);
