/* longwave-geo-server. */
#include "geo-server/server.h"

int main(int argc, char **argv)
{
	return rt_daemon_main(argc, argv, &geo_daemon);
}
