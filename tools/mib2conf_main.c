#include "mib2conf.h"

int
main(int argc, char **argv)
{
	return scotty_mib2conf(argc, argv);
}
