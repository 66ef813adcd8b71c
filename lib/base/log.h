/*
 * base/log.h - one line to standard error per change of state.
 *
 * "level module: what: key=value ..." preceded by the time. Control characters and invalid UTF-8 in
 * what endpoints send are shown as \xNN, so that no line can be forged. A line is one write()
 * and cut at 4 KiB.
 *
 * Threads: any. Locks taken: log (the highest rank).
 */
#ifndef SCOTTY_BASE_LOG_H
#define SCOTTY_BASE_LOG_H

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/* Lines below this level are dropped. Default LOG_INFO. */
void log_set_level(enum log_level);
void log_line(enum log_level, const char *module, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)
#define log_info(...)  log_line(LOG_INFO, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)

#endif
