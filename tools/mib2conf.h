/*
 * mib2conf.h - the subcommand `scotty mib2conf`: MIB files to configuration.
 *
 * Threads: the library it uses wants to be called by one only.
 */
#ifndef SCOTTY_TOOLS_MIB2CONF_H
#define SCOTTY_TOOLS_MIB2CONF_H

/* argv[0] is the subcommand. Returns the exit code: 0, 1 failure, 2 wrong usage. */
int scotty_mib2conf(int argc, char **argv);

#endif
