#include "match_either.h"

#include "sources/tricorder_match_priv.h"

bool match_without_avx2;

#if defined(__x86_64__)

enum match __real_layout_match_avx2(struct parser *, struct layout *, size_t *matched);
enum match __wrap_layout_match_avx2(struct parser *, struct layout *, size_t *matched);

enum match
__wrap_layout_match_avx2(struct parser *p, struct layout *layout, size_t *matched)
{
	return match_without_avx2 ? layout_match(p, layout, matched)
	                          : __real_layout_match_avx2(p, layout, matched);
}

#endif
