/*
 * base/lock_priv.h - whether lock ranks are checked: in debug builds and under the sanitizers;
 * release builds pay nothing.
 */
#ifndef SCOTTY_BASE_LOCK_PRIV_H
#define SCOTTY_BASE_LOCK_PRIV_H

#if defined(SCOTTY_LOCK_CHECK) || !defined(__OPTIMIZE__)
#define LOCK_CHECKS_RANKS 1
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LOCK_CHECKS_RANKS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define LOCK_CHECKS_RANKS 1
#endif
#endif
#ifndef LOCK_CHECKS_RANKS
#define LOCK_CHECKS_RANKS 0
#endif

#endif
